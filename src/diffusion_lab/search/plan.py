"""What a search is, as its session tells its workers: plain data, held against everything before the first trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf, open_dict

from diffusion_lab.config.cli import one_line
from diffusion_lab.config.schema import SearchConfig, TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError
from diffusion_lab.runs.validate import validated
from diffusion_lab.search import space as spaces
from diffusion_lab.search.optuna_samplers import grid
from diffusion_lab.search.search_objectives import LOSSES, Objective, objectives
from diffusion_lab.sweeps.sweep import alone

#: The folder of all searches under the output folder.
SEARCHES = "search"

#: What is typed about the terminal and the search, and is no part of a run.
_OF_THE_SESSION = ("search", "console", "resume")


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        name: of the study in the storage, and of its folder.
        outputs: the folder that holds the folders of all searches.
        fixed: the overrides that all trials have in common.
        space: the values of each key that is searched, as they were typed.
        objectives: what the trials are for; the first one is watched for pruning.
        n_trials: when so many have ended, it is over.
        sampler: who chooses the values.
        seed: of the sampler.
        pruner: who ends hopeless trials.
        storage: the URL of the database; it may hold a password, and is written nowhere.
        heartbeat: seconds between signs of life.
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
        """Where the runs and figures are, and the storage if it is a file."""
        return Path(self.outputs) / self.name

    @property
    def dimensions(self) -> list[spaces.Dimension]:
        """The space, read."""
        return spaces.parsed(self.space)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """What is typed behind scripts/train.py for a trial of these values."""
        return [*self.fixed, *spaces.overrides(self.dimensions, params)]

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        content = json.loads(text)
        return cls(**{**content, "objectives": [Objective(**node) for node in content["objectives"]]})


def plan(settings: SearchConfig, typed: Sequence[str]) -> Plan:
    """The search that its settings describe.

    Args:
        settings: of conf/search.yaml.
        typed: the overrides on the command line.

    Raises:
        LabError: naming the key that does not fit.
    """
    if settings.resume is not None:
        raise LabError(f"resume={settings.resume}: a search is taken up by its search.name; resume is of a single run")
    node = asdict(settings.search)
    fixed = [override for override in typed if _key(override).split(".")[0] not in _OF_THE_SESSION]
    known = {_key(override) for override in fixed}
    # What is typed wins over a preset: it is the same for all trials.
    space = {key: text for key, text in spaces.read(node["space"]).items() if _key(key) not in known}
    for key in space:
        if key.split(".")[0] in _OF_THE_SESSION:
            raise LabError(f"search.space.{key} decides nothing of a run: it cannot be searched")
    dimensions = spaces.parsed(space)
    if node["sampler"] == "grid":
        node["n_trials"] = min(node["n_trials"], math.prod(map(len, grid(dimensions).values())))
    goals = objectives(node["objectives"], list(settings.evaluation))
    if "val/loss" in {goal.metric for goal in goals} and settings.trainer.get("limit_val_batches") == 0:
        raise LabError("search.objectives asks for val/loss, and trainer.limit_val_batches=0 leaves no validation")
    if node["pruner"] != "none" and len(goals) == 1 and goals[0].metric not in LOSSES:
        raise LabError(
            f"search.pruner={node['pruner']} watches a loss while a run trains, and {goals[0].metric} is known at its "
            "end: take search.pruner=none"
        )
    outputs = (Path(settings.paths.output_dir).expanduser() / SEARCHES).resolve()
    storage = node["storage"] or f"sqlite:///{outputs / node['name'] / 'study.db'}"
    same = ("name", "n_trials", "sampler", "seed", "pruner", "heartbeat")
    return Plan(
        outputs=str(outputs),
        fixed=fixed,
        space=space,
        objectives=goals,
        storage=storage,
        **{key: node[key] for key in same},
    )


def composed(overrides: Sequence[str]) -> tuple[TrainConfig, dict[str, Any]]:
    """The settings of scripts/train.py with these overrides, and the option of each group.

    Raises:
        LabError: naming the override that does not fit.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", list(overrides), return_hydra_config=True)
    except Exception as error:  # Hydra's and OmegaConf's, which `one_line` knows to explain
        raise LabError(one_line(error, "search")) from error
    chosen: dict[str, Any] = OmegaConf.to_container(cfg.hydra.runtime.choices)  # type: ignore[assignment]
    with open_dict(cfg):
        del cfg["hydra"]
    return alone(read_settings(TrainConfig, cfg)), chosen


def check(search: Plan) -> None:
    """Hold the whole space against what a run takes: each value at its ends, with the others at their first.

    Raises:
        LabError: naming the key and the value that no run could have.
    """
    dimensions = search.dimensions
    first = {dimension.key: dimension.corners()[0] for dimension in dimensions}
    last = {dimension.key: dimension.corners()[-1] for dimension in dimensions}
    trials = [first, last]
    trials += [{**first, d.key: value} for d in dimensions for value in d.corners()[1:]]
    seen: list[dict[str, Any]] = []
    for params in trials:
        if params in seen:
            continue
        seen.append(params)
        typed = spaces.overrides(dimensions, params)
        try:
            settings, _ = composed([*search.fixed, *typed])
            validated(settings)
        except LabError as error:
            raise LabError(f"{error} (in the search's trial {' '.join(typed)}; none was started)") from error


def _key(override: str) -> str:
    """The key of an override, or of a dimension, without what says how it is set."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]
