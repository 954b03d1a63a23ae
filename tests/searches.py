"""A search that is small enough for tests."""

from diffusion_lab.search.search_objectives import Objective
from diffusion_lab.search.search_spec import SearchSpec

#: A key of numbers and a key of choices.
SPACE = {"optimizer.lr": "tag(log, interval(1e-4, 1e-2))", "schedule": "choice(linear, cosine)"}


def small_spec(tmp_path, **changes):
    """Return a search of four trials whose storage is a file in `tmp_path`, with these changes."""
    fields = {
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
    return SearchSpec(**{**fields, **changes})
