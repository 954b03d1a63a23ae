"""The keys of a script that belong to no part: the top level of conf/train.yaml, conf/sample.yaml and the others.

What is inside a part (`data`, `network`, …) is held against the constructor that its `_target_` names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

#: A config node that is checked by itself.
Part = dict[str, Any]


@dataclass(frozen=True)
class Paths:
    """Where data is read and runs are written."""

    data_dir: str
    output_dir: str


@dataclass(frozen=True)
class Sampling:
    """The samples that are drawn when training is over."""

    num_samples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        at_least(1, "sampling.num_samples", self.num_samples)
        at_least(1, "sampling.batch_size", self.batch_size)
        at_least(0, "sampling.seed", self.seed)


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    data: Part
    codec: Part
    schedule: Part
    process: Part
    parameterization: Part
    objective: Part
    network: Part
    sampler: Part
    guidance: Part
    clip: Part
    optimizer: Part
    lr_schedule: Part
    trainer: Part
    callbacks: Part
    logger: Part
    evaluation: Part
    console: Part
    paths: Paths
    name: str
    seed: int
    compile: bool
    resume: str | None
    init_from: str | None
    sampling: Sampling
    ema: Part | None = None  # as the next ones, runs of before there was one lack it
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    launcher: Part | None = None  # of a sweep, as `rerun`: runs lack them
    rerun: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        check_folder_name("name", self.name)
        check_tags("tags", self.tags)
        at_least(0, "seed", self.seed)
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32, got {self.seed}")
        if self.resume is not None and self.init_from is not None:
            raise ValueError(
                "resume and init_from exclude each other: resume goes on with a run, init_from starts a new one"
            )


@dataclass(frozen=True)
class Search:
    """What a search varies, and what for; its space and objectives are read by `diffusion_lab.search`."""

    name: str
    space: Any
    objectives: list[dict[str, Any]]
    n_trials: int
    workers: int
    sampler: Literal["tpe", "random", "grid", "qmc", "gp", "nsgaii"]
    seed: int
    pruner: Literal["none", "median", "hyperband"]
    storage: str | None
    heartbeat: int

    def __post_init__(self) -> None:
        check_folder_name("search.name", self.name)
        at_least(1, "search.n_trials", self.n_trials)
        at_least(1, "search.workers", self.workers)
        at_least(0, "search.seed", self.seed)
        at_least(1, "search.heartbeat", self.heartbeat)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(TrainConfig):
    """A search: a training run, and what is varied of it."""

    search: Search


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(TrainConfig):
    """A training run that is killed and resumed."""

    kills: int
    kill_seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, "kills", self.kills)
        at_least(0, "kill_seed", self.kill_seed)
        if self.resume is not None:
            raise ValueError("resume: a verification begins two runs of its own")


@dataclass(frozen=True)
class ReproducePaths:
    """Where a run that is made again reads its data and is written."""

    data_dir: str | None
    output_dir: str


@dataclass(frozen=True)
class ReproduceTrainer:
    """Of the trainer, what may be another one."""

    accelerator: str | None


@dataclass(frozen=True)
class ReproduceConfig:
    """A run made again."""

    run_dir: str
    compare_only: str | None
    threads: int | None
    trainer: ReproduceTrainer
    paths: ReproducePaths
    console: Part

    def __post_init__(self) -> None:
        if self.threads is not None:
            at_least(1, "threads", self.threads)


@dataclass(frozen=True)
class SampleConfig:
    """A draw from a run."""

    run_dir: str
    checkpoint: str
    weights: Literal["ema", "raw"]
    num_samples: int
    batch_size: int
    seed: int
    trajectory: bool
    sampler: Part | None
    guidance: Part | None
    clip: Part | None
    label: int | list[int] | None
    device: str
    precision: str
    compile: bool
    console: Part

    def __post_init__(self) -> None:
        if self.precision not in ("32-true", "bf16-mixed"):
            raise ValueError(f"precision must be 32-true or bf16-mixed, got {self.precision}")
        at_least(1, "num_samples", self.num_samples)
        at_least(1, "batch_size", self.batch_size)
        at_least(0, "seed", self.seed)


def check_folder_name(key: str, name: str) -> None:
    """Raise ValueError, naming the key, if a folder cannot have this name."""
    if not re.fullmatch(r"[\w\-+=,. ]*[\w\-+=, ]", name):
        raise ValueError(f"{key} must be a folder's name, of letters, digits, '-', '_', '.', got {name!r}")


@dataclass(frozen=True)
class RunsConfig:
    """A list of runs, and what is done with them."""

    state: list[str]
    name: str | None
    tag: list[str]
    older_than: str | None
    metric: str
    sort: Literal["age", "metric", "size", "name", "state"]
    add_tag: list[str]
    remove_tag: list[str]
    notes: str | None
    prune: Literal["runs", "checkpoints"] | None
    confirm: bool

    def __post_init__(self) -> None:
        check_tags("add_tag", self.add_tag)
        if self.older_than is not None and not re.fullmatch(r"\d+[mhdw]", self.older_than):
            raise ValueError(f"older_than must be a time such as 90m, 12h, 7d or 4w, got {self.older_than}")
        if self.confirm and self.prune is None:
            raise ValueError("confirm=true goes with prune=runs or prune=checkpoints")
        if self.prune is not None and (self.add_tag or self.remove_tag or self.notes is not None):
            raise ValueError("prune does not go together with add_tag, remove_tag and notes")


@dataclass(frozen=True)
class CompareConfig:
    """A comparison of runs."""

    metric: list[str]
    direction: Literal["lower", "higher"] | None
    by: list[str]
    sort: str
    all: bool
    out: list[str]

    def __post_init__(self) -> None:
        if not self.metric:
            raise ValueError("metric must be given: the name of a number, or a list of them")


def at_least(least: int, key: str, value: int) -> None:
    """Raise ValueError, naming the key, if the value is smaller."""
    if value < least:
        raise ValueError(f"{key} must be at least {least}, got {value}")


def check_tags(key: str, tags: list[str]) -> None:
    """Raise ValueError, naming the key, if one of the tags is no word."""
    for tag in tags:
        if not re.fullmatch(r"[\w\-+.]{1,40}", tag):
            raise ValueError(f"{key}: a tag is a word of letters, digits, '-', '_', '+', '.', got {tag!r}")
