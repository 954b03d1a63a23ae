"""Evaluate a run: `python scripts/evaluate.py run_dir=… sampler=dpmpp_2m sampler.num_steps=20`."""

from diffusion_lab.config.cli import run

#: The config groups of which the run has its own option.
GROUPS_OF_THE_RUN = ("sampler", "grid", "guidance", "clip")


def evaluate(cfg):
    """Evaluate as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from diffusion_lab.config.reader_schema import EvaluateConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs import evaluate

    evaluate.evaluate(read_settings(EvaluateConfig, cfg))


if __name__ == "__main__":
    run("evaluate", evaluate, GROUPS_OF_THE_RUN)
