"""Compare runs."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.reader_schema import CompareConfig


def compare(paths: list[str], settings: CompareConfig) -> None:
    """Compare the runs in `paths`."""
    # Imported here so that --help answers before NumPy would have loaded.
    from diffusion_lab.catalogue.comparison.compare_runs import compare_runs

    compare_runs(paths, settings)


def main() -> None:
    """Run the command on what was typed behind it."""
    run_on_paths("compare", CompareConfig, compare)
