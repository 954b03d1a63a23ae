"""Compare runs: `python scripts/compare.py outputs/… metric=val/loss`, and `--help`."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.schema import CompareConfig


def compare(paths: list[str], settings: CompareConfig) -> None:
    """Compare the runs in `paths`."""
    from diffusion_lab.catalogue.comparison.compare_runs import compare

    compare(paths, settings)


if __name__ == "__main__":
    run_on_paths("compare", CompareConfig, compare)
