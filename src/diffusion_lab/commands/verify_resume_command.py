"""Verify that a run that is killed and resumed gives identical results."""

import sys

from diffusion_lab.config.cli import run

#: The exit status if the two runs are not identical.
DIFFERS = 3


def verify_resume(cfg):
    """Train a run twice, once with kills; exit with `DIFFERS` unless the two runs are identical."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.config.schema import VerifyConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.reproduction import verify_resume
    from diffusion_lab.sweeps.sweep import single_run_config

    hydra = HydraConfig.get()
    settings = single_run_config(read_settings(VerifyConfig, cfg))
    if not verify_resume.verify_resume(settings, list(hydra.overrides.task), dict(hydra.runtime.choices)):
        sys.exit(DIFFERS)


def main() -> None:
    """Run the command on what was typed behind it."""
    run("verify_resume", verify_resume)
