"""Show draws side by side."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.reader_schema import CompareDrawsConfig


def compare_draws(paths: list[str], settings: CompareDrawsConfig) -> None:
    """Show the draws in `paths`."""
    # Imported here so that --help answers before torch would have loaded.
    from diffusion_lab.runs.compare_draws import compare_draws

    compare_draws(paths, settings)


def main() -> None:
    """Run the command on what was typed behind it."""
    run_on_paths("compare_draws", CompareDrawsConfig, compare_draws)
