"""Searches that are small enough for a test."""

from diffusion_lab.search.plan import Plan
from diffusion_lab.search.search_objectives import Objective

#: Two values that differ much in what they reach.
SPACE = {"optimizer.lr": "tag(log, interval(1e-4, 1e-2))", "schedule": "choice(linear, cosine)"}


def small_plan(tmp_path, **changes):
    """A search of four trials in a file in `tmp_path`."""
    plan = {
        "name": "small",
        "outputs": str(tmp_path / "search"),
        "fixed": [],
        "space": SPACE,
        "objectives": [Objective("val/loss")],
        "n_trials": 4,
        "sampler": "random",
        "seed": 0,
        "pruner": "none",
        "storage": f"sqlite:///{tmp_path}/study.db",
        "heartbeat": 10,
    }
    return Plan(**{**plan, **changes})
