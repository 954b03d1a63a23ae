"""Train the feature network of a data set."""

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


def main() -> None:
    """Run the command on what was typed behind it."""
    run("train_features", train_features)
