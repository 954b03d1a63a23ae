"""Draw from a run: `python scripts/sample.py run_dir=… num_samples=64 seed=7`."""

import sys

from diffusion_lab.config.changes import as_changes
from diffusion_lab.config.cli import run

#: The config groups of which the run has its own option, so that their keys can be typed alone.
OF_THE_RUN = ("sampler", "guidance", "clip")


def sample(cfg):
    """Draw as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from diffusion_lab.runs import sample

    sample.sample(cfg)


if __name__ == "__main__":
    sys.argv[1:] = as_changes(sys.argv[1:], OF_THE_RUN)
    run("sample", sample)
