"""Train the feature network of a data set: `python scripts/train_features.py data=mnist`, and `--help`."""

from diffusion_lab.config.cli import run


def train_features(cfg):
    """Train a feature network as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.config.schema import TrainFeaturesConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs import train_features

    overrides = list(HydraConfig.get().overrides.task)
    train_features.train_feature_network(read_settings(TrainFeaturesConfig, cfg), overrides)


if __name__ == "__main__":
    run("train_features", train_features)
