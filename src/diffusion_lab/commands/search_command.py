"""Search for the best run."""

from diffusion_lab.config.cli import run
from diffusion_lab.search.space import move_sweeps_into_space

#: Several values of a key are its space, unless a sweep of searches is typed.
REWRITE = move_sweeps_into_space


def search(cfg):
    """Run the search that the composed config describes."""
    # Imported here so that --help and --cfg do not wait for torch to load.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.config.schema import SearchConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.search import search

    search(read_settings(SearchConfig, cfg), list(HydraConfig.get().overrides.task))


def main() -> None:
    """Run the command on what was typed behind it."""
    run("search", search, REWRITE)
