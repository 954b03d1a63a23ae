"""Search for the best run: `python scripts/search.py --help` says what can be chosen."""

import sys

from diffusion_lab.config.cli import run
from diffusion_lab.search.space import spelled


def search(cfg):
    """Search as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from hydra.core.hydra_config import HydraConfig

    from diffusion_lab.config.schema import SearchConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.search import search

    search(read_settings(SearchConfig, cfg), list(HydraConfig.get().overrides.task))


if __name__ == "__main__":
    sys.argv[1:] = spelled(sys.argv[1:])
    run("search", search)
