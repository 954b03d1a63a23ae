"""Train a run again and compare the two step by step."""

import sys

from diffusion_lab.config.cli import run

#: The exit status if the two runs are not identical.
DIFFERS = 3


def reproduce(cfg):
    """Reproduce a run; exit with `DIFFERS` unless the two runs are identical."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from diffusion_lab.config.schema import ReproduceConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.reproduction import reproduce

    verdict = reproduce.reproduce(read_settings(ReproduceConfig, cfg))
    if verdict is not None and not verdict.identical:
        sys.exit(DIFFERS)


def main() -> None:
    """Run the command on what was typed behind it."""
    run("reproduce", reproduce)
