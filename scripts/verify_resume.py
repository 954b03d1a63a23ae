"""Show that a run that is killed goes on exactly: `python scripts/verify_resume.py --help`."""

import sys

from diffusion_lab.config.cli import run

#: The exit status where the two runs are not the same.
DIFFERS = 3


def verify_resume(cfg):
    """Verify as the composed config says; exit with `DIFFERS` unless the two runs are identical."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.config.schema import VerifyConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.reproduction import verify_resume
    from diffusion_lab.sweeps.sweep import alone

    hydra = HydraConfig.get()
    settings = alone(read_settings(VerifyConfig, cfg))
    if not verify_resume.verify_resume(settings, list(hydra.overrides.task), dict(hydra.runtime.choices)):
        sys.exit(DIFFERS)


if __name__ == "__main__":
    run("verify_resume", verify_resume)
