"""List runs, change their tags and notes, or remove them: `python scripts/runs.py`, and `--help`."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.reader_schema import RunsConfig


def runs(paths: list[str], settings: RunsConfig) -> None:
    """List, edit or remove the runs in `paths`, as the settings say."""
    from diffusion_lab.catalogue.listing import manage_runs

    manage_runs(paths, settings)


if __name__ == "__main__":
    run_on_paths("runs", RunsConfig, runs)
