"""The program of a process that rank 0 starts: `python -m diffusion_lab.runs.rank_process <run folder>`."""

import sys

from diffusion_lab.config.cli import exit_on_error


def _join() -> None:
    # Imported here, so that an error of the import ends in one line.
    from diffusion_lab.runs.train import join

    join(sys.argv[1])


if __name__ == "__main__":
    exit_on_error(_join)
