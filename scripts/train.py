"""Train a diffusion model: `python scripts/train.py --help` says what can be chosen."""

import os

from diffusion_lab.config.cli import guarded, run


def train(cfg):
    """Train as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.runs import train

    train.train(cfg, list(HydraConfig.get().overrides.task))


def join(folder):
    """Take part in the run whose rank 0 started this process."""
    from diffusion_lab.runs import train

    train.join(folder)


if __name__ == "__main__":
    if "DIFFUSION_LAB_CHILD_OF" in os.environ:
        guarded(lambda: join(os.environ["DIFFUSION_LAB_CHILD_OF"]))
    else:
        run("train", train)
