"""Draw from a run."""

from diffusion_lab.config.changes import as_changes
from diffusion_lab.config.cli import run

#: The run has its own sampler and what goes with it, of which single keys may be typed.
REWRITE = as_changes


def sample(cfg):
    """Draw as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from diffusion_lab.config.reader_schema import SampleConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs import sample

    sample.sample(read_settings(SampleConfig, cfg))


def main() -> None:
    """Run the command on what was typed behind it."""
    run("sample", sample, REWRITE)
