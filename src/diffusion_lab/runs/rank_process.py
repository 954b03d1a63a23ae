"""What a process runs that rank 0 started: `python -m diffusion_lab.runs.rank_process <run folder>`."""

import sys

from diffusion_lab.config.cli import exit_on_error


def _join() -> None:
    # Imported here, so that whatever goes wrong with it ends in one line.
    from diffusion_lab.runs.train import join

    join(sys.argv[1])


if __name__ == "__main__":
    exit_on_error(_join)
