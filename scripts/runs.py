"""List, mark and remove runs: `python scripts/runs.py`, and `--help`."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.schema import RunsConfig


def runs(paths: list[str], settings: RunsConfig) -> None:
    """List the runs in `paths`, or do with them what the settings say."""
    from diffusion_lab.catalogue import listing

    listing.runs(paths, settings)


if __name__ == "__main__":
    run_on_paths("runs", RunsConfig, runs)
