"""Train a diffusion model."""

from diffusion_lab.config.changes import as_changes_of_resumed
from diffusion_lab.config.cli import run

#: A run that is resumed has its own config, of which single keys may be typed.
REWRITE = as_changes_of_resumed


def train(cfg):
    """Train as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.config.schema import TrainConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs import train
    from diffusion_lab.sweeps.sweep import single_run_config

    hydra = HydraConfig.get()
    settings = single_run_config(read_settings(TrainConfig, cfg))
    train.train(settings, list(hydra.overrides.task), dict(hydra.runtime.choices))


def main() -> None:
    """Run the command on what was typed behind it."""
    run("train", train, REWRITE)
