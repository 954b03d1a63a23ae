"""The specification of a search: read from the config, checked before the first trial, and sent to the workers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffusion_lab.config.overrides import searchpath
from diffusion_lab.config.schema import SearchConfig
from diffusion_lab.errors import LabError
from diffusion_lab.runs.validate import validated
from diffusion_lab.search.optuna_samplers import grid_values
from diffusion_lab.search.search_objectives import LOSSES, Objective, read_objectives
from diffusion_lab.search.space import Dimension, parse_space, read_space, trial_overrides
from diffusion_lab.sweeps.compose_run import compose_run

#: Name of the folder of all searches in the output folder.
SEARCHES = "search"

#: Top-level keys that belong to the search and its terminal, and not to the runs.
_SESSION_KEYS = ("search", "console", "resume")


@dataclass(frozen=True)
class SearchSpec:
    """The specification of a search, as plain data.

    Attributes:
        name: name of the study in the storage and of the search's folder.
        outputs: the folder that contains the folders of all searches.
        fixed: the overrides that all trials have in common.
        space: the values of each searched key, as they were typed.
        objectives: what to minimize or maximize; the pruner uses the first one.
        n_trials: the search is over when this many trials have ended.
        sampler: name of the sampler, which chooses the values of the trials.
        seed: seed of the sampler.
        pruner: name of the pruner, which ends trials early.
        storage: URL of the database. It may contain a password, so it is never written to a file.
        heartbeat: seconds between the heartbeats of a running trial.
    """

    name: str
    outputs: str
    fixed: list[str]
    space: dict[str, str]
    objectives: list[Objective]
    n_trials: int
    sampler: str
    seed: int
    pruner: str
    storage: str
    heartbeat: int

    @property
    def folder(self) -> Path:
        """The folder of the search's runs and figures, and of its storage by default."""
        return Path(self.outputs) / self.name

    @property
    def dimensions(self) -> list[Dimension]:
        """The parsed space."""
        return parse_space(self.space)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Return the overrides for scripts/train.py that repeat a trial with these values."""
        return [*self.fixed, *trial_overrides(self.dimensions, params)]

    def as_json(self) -> str:
        """Return the specification as one line of JSON, which `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SearchSpec:
        """Return the specification that `as_json` wrote."""
        content = json.loads(text)
        return cls(**{**content, "objectives": [Objective(**node) for node in content["objectives"]]})


def read_spec(settings: SearchConfig, typed: Sequence[str]) -> SearchSpec:
    """Return the specification of the search that the settings describe.

    Args:
        settings: read from the config composed from conf/search.yaml.
        typed: the overrides on the command line.

    Raises:
        LabError: if a key is invalid; the message names it.
    """
    if settings.resume is not None:
        raise LabError(f"resume={settings.resume}: resume is for single runs; the same search.name continues a search")
    node = asdict(settings.search)
    fixed = searchpath()
    fixed += [override for override in typed if _key(override).split(".")[0] not in _SESSION_KEYS]
    fixed_keys = {_key(override) for override in fixed}
    # A single value that is typed takes the key out of the preset's space: it is the same for all trials.
    space = {key: text for key, text in read_space(node["space"]).items() if _key(key) not in fixed_keys}
    for key in space:
        if key.split(".")[0] in _SESSION_KEYS:
            raise LabError(f"search.space.{key} does not affect a run: it cannot be searched")
    dimensions = parse_space(space)
    if node["sampler"] == "grid":
        node["n_trials"] = min(node["n_trials"], math.prod(map(len, grid_values(dimensions).values())))
    objectives = read_objectives(node["objectives"], list(settings.evaluation))
    if "val/loss" in {objective.metric for objective in objectives} and settings.trainer.get("limit_val_batches") == 0:
        raise LabError("search.objectives asks for val/loss, and trainer.limit_val_batches=0 leaves no validation")
    if node["pruner"] != "none" and len(objectives) == 1 and objectives[0].metric not in LOSSES:
        raise LabError(
            f"search.pruner={node['pruner']} compares losses during training, and {objectives[0].metric} is known only "
            "at the end of a run: set search.pruner=none"
        )
    outputs = (Path(settings.paths.output_dir).expanduser() / SEARCHES).resolve()
    storage = node["storage"] or f"sqlite:///{outputs / node['name'] / 'study.db'}"
    copied = ("name", "n_trials", "sampler", "seed", "pruner", "heartbeat")
    return SearchSpec(
        outputs=str(outputs),
        fixed=fixed,
        space=space,
        objectives=objectives,
        storage=storage,
        **{key: node[key] for key in copied},
    )


def check_space(spec: SearchSpec) -> None:
    """Check that runs with the extreme values of the space are valid: one key at a time, and all keys together.

    Raises:
        LabError: if such a run is invalid; the message names the key and the value.
    """
    dimensions = spec.dimensions
    first = {dimension.key: dimension.extremes()[0] for dimension in dimensions}
    last = {dimension.key: dimension.extremes()[-1] for dimension in dimensions}
    trials = [first, last]
    trials += [{**first, d.key: value} for d in dimensions for value in d.extremes()[1:]]
    seen: list[dict[str, Any]] = []
    for params in trials:
        if params in seen:
            continue
        seen.append(params)
        typed = trial_overrides(dimensions, params)
        try:
            settings, _ = compose_run([*spec.fixed, *typed], "search")
            validated(settings)
        except LabError as error:
            raise LabError(f"{error} (in the trial {' '.join(typed)}; none was started)") from error


def _key(override: str) -> str:
    """Return the key of an override or a dimension, without its prefix ``+`` or ``~`` and its suffix ``@package``."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]
