"""Show draws side by side: `python scripts/compare_draws.py outputs/<name>/<run>`, and `--help`."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.reader_schema import CompareDrawsConfig


def compare_draws(paths: list[str], settings: CompareDrawsConfig) -> None:
    """Show the draws in `paths`."""
    # Imported here so that --help answers before torch would have loaded.
    from diffusion_lab.runs.compare_draws import compare_draws

    compare_draws(paths, settings)


if __name__ == "__main__":
    run_on_paths("compare_draws", CompareDrawsConfig, compare_draws)
