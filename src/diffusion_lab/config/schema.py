"""The typed settings of each script: one dataclass for each config that a script composes.

Their fields are the keys at the top of conf/train.yaml, conf/sample.yaml and the others. The node of a part (`data`,
`network`, …) stays a plain container here: it is checked against the constructor that its `_target_` names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

#: The config node of a part: a plain container, which is checked when the part is built.
Part = dict[str, Any]

#: The keys of conf/train.yaml that say how a sweep runs its jobs, and are no part of a run.
SWEEP_KEYS = ("launcher", "rerun")


@dataclass(frozen=True)
class Paths:
    """Where data is read and runs are written."""

    data_dir: str
    output_dir: str


@dataclass(frozen=True)
class Sampling:
    """The samples that are drawn when training has ended."""

    num_samples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        at_least(1, "sampling.num_samples", self.num_samples)
        at_least(1, "sampling.batch_size", self.batch_size)
        at_least(0, "sampling.seed", self.seed)
        below_2_to_32("sampling.seed", self.seed)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training run, in the order of conf/train.yaml.

    Attributes:
        allowed_targets: the targets that may be built under each top-level key; None for all. See
            `recorded_train_config`.
    """

    allowed_targets: ClassVar[Mapping[str, Collection[str]] | None] = None

    data: Part
    codec: Part
    schedule: Part
    process: Part
    parameterization: Part
    time_sampling: Part
    weight: Part
    objective: Part
    network: Part
    sampler: Part
    grid: Part
    guidance: Part
    clip: Part
    optimizer: Part
    lr_schedule: Part
    ema: Part | None
    trainer: Part
    callbacks: Part
    logger: Part
    evaluation: Part
    console: Part
    launcher: Part | None = None  # with `rerun`, a setting of a sweep: see `as_node`
    paths: Paths
    name: str
    tags: list[str]
    notes: str
    seed: int
    compile: bool
    deterministic: bool
    resume: str | None
    init_from: str | None
    rerun: bool = False
    sampling: Sampling

    def __post_init__(self) -> None:
        check_folder_name("name", self.name)
        check_tags("tags", self.tags)
        at_least(0, "seed", self.seed)
        below_2_to_32("seed", self.seed)
        if self.resume is not None and self.init_from is not None:
            raise ValueError(
                "resume and init_from exclude each other: resume goes on with a run, init_from starts a new one"
            )

    def as_node(self) -> dict[str, Any]:
        """Return the run's config as a new plain container: what `config.yaml` records and `config_hash` hashes.

        What says how a sweep runs its jobs, or a subclass adds, is no part of it.
        """
        values = asdict(self)
        names = (field.name for field in fields(TrainConfig))
        return {name: values[name] for name in names if name not in SWEEP_KEYS}

    def with_absolute_paths(self) -> Self:
        """Return a copy whose paths mean the same from another working directory."""
        paths = Paths(data_dir=_absolute(self.paths.data_dir), output_dir=_absolute(self.paths.output_dir))
        return replace(self, paths=paths, init_from=None if self.init_from is None else _absolute(self.init_from))


def recorded_train_config(allowed: Mapping[str, Collection[str]]) -> type[TrainConfig]:
    """Return the schema of settings that a run folder recorded, of which only some targets may be built."""
    return type("RecordedTrainConfig", (TrainConfig,), {"allowed_targets": allowed})


@dataclass(frozen=True)
class Search:
    """The settings of a search; `diffusion_lab.search` reads its space and objectives."""

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
    """The settings of a search: those that all trials have in common, and what is varied."""

    search: Search


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(TrainConfig):
    """The settings of a training run that is trained twice: once without a stop, once killed and resumed."""

    kills: int
    kill_seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, "kills", self.kills)
        at_least(0, "kill_seed", self.kill_seed)
        if self.resume is not None:
            raise ValueError("resume: a verification starts two runs of its own")


@dataclass(frozen=True)
class ReproducePaths:
    """Where a reproduction reads its data and is written."""

    data_dir: str | None
    output_dir: str


@dataclass(frozen=True)
class ReproduceTrainer:
    """The settings of the trainer that a reproduction may change."""

    accelerator: str | None


@dataclass(frozen=True)
class ReproduceConfig:
    """The settings of a reproduction: a recorded run is trained again and compared."""

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
class Inpaint:
    """What is known of samples that are to be completed: `image`, where `mask` is black."""

    image: str | None
    mask: str | None
    jump_length: int
    resamplings: int

    def __post_init__(self) -> None:
        if (self.image is None) != (self.mask is None):
            there, lacks = ("mask", "image") if self.image is None else ("image", "mask")
            raise ValueError(f"inpaint.{there} needs inpaint.{lacks}, too")
        at_least(1, "inpaint.jump_length", self.jump_length)
        at_least(1, "inpaint.resamplings", self.resamplings)


@dataclass(frozen=True)
class SampleConfig:
    """The settings of samples that are drawn from a run."""

    run_dir: str
    checkpoint: str
    weights: str
    num_samples: int
    batch_size: int
    seed: int
    trajectory: bool
    sampler: Part | None
    grid: Part | None
    guidance: Part | None
    clip: Part | None
    labels: int | list[int] | None
    invert: str | None
    inpaint: Inpaint
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
        below_2_to_32("seed", self.seed)
        if not re.fullmatch(r"raw|ema|(ema|power)_\d*\.?\d+(e-\d+)?", self.weights):
            raise ValueError(
                f"weights must be raw, ema or the key of an average, ema_0.999 or power_0.08, got {self.weights[:40]}"
            )
        if self.labels == []:
            raise ValueError("labels must name at least one class, or be null for all in turn")
        if self.invert is not None and self.inpaint.image is not None:
            raise ValueError("invert and inpaint exclude each other: choose one")


def check_folder_name(key: str, name: str) -> None:
    """Raise ValueError, naming the key, if a folder cannot have this name."""
    if not re.fullmatch(r"[\w\-+=,. ]*[\w\-+=, ]", name):
        raise ValueError(f"{key} must be a folder's name, of letters, digits, '-', '_', '.', got {name!r}")


@dataclass(frozen=True)
class RunsConfig:
    """The settings of scripts/runs.py: which runs are listed, and what is done with them."""

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
    """The settings of a comparison of runs."""

    metric: list[str]
    direction: Literal["lower", "higher"] | None
    by: list[str]
    sort: str
    all: bool
    out: list[str]

    def __post_init__(self) -> None:
        if not self.metric:
            raise ValueError("metric must be given: the name of a number, or a list of them")


@dataclass(frozen=True)
class CompareDrawsConfig:
    """The settings of a figure that shows draws side by side."""

    out: str | None
    per_row: int

    def __post_init__(self) -> None:
        at_least(1, "per_row", self.per_row)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def at_least(least: int, key: str, value: int) -> None:
    """Raise ValueError, naming the key, if the value is smaller."""
    if value < least:
        raise ValueError(f"{key} must be at least {least}, got {value}")


def below_2_to_32(key: str, value: int) -> None:
    """Raise ValueError, naming the key, if the value is no 32-bit seed."""
    if value >= 2**32:
        raise ValueError(f"{key} must be below 2**32, got {str(value)[:40]}")


def check_tags(key: str, tags: list[str]) -> None:
    """Raise ValueError, naming the key, if one of the tags is not a single word."""
    for tag in tags:
        if not re.fullmatch(r"[\w\-+.]{1,40}", tag):
            raise ValueError(f"{key}: a tag is a word of letters, digits, '-', '_', '+', '.', got {tag!r}")
