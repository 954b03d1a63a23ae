"""List runs, change their tags and notes, or remove them."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.reader_schema import RunsConfig


def runs(paths: list[str], settings: RunsConfig) -> None:
    """List, edit or remove the runs in `paths`, as the settings say."""
    from diffusion_lab.catalogue.listing import manage_runs

    manage_runs(paths, settings)


def main() -> None:
    """Run the command on what was typed behind it."""
    run_on_paths("runs", RunsConfig, runs)
