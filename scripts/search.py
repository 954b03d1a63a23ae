"""Search for the best run: `python scripts/search.py --help` says what can be chosen."""

from diffusion_lab.config.cli import run


def search(cfg):
    """Search as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.search import search

    search(cfg, list(HydraConfig.get().overrides.task))


if __name__ == "__main__":
    run("search", search)
