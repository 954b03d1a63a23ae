"""The typed settings of the scripts that train: one dataclass for each config that a script composes.

Their fields are the keys at the top of conf/train.yaml, conf/search.yaml and the others. The node of a part (`data`,
`network`, …) stays a plain container here: it is checked against the constructor that its `_target_` names. Those of
the scripts that read runs are in `reader_schema.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from diffusion_lab.config.value_checks import at_least, below_2_to_32, check_folder_name, check_tags

#: The config node of a part: a plain container, which is checked when the part is built.
Part = dict[str, Any]

#: The keys of conf/train.yaml that say how a sweep runs its jobs, and are no part of a run.
SWEEP_KEYS = ("launcher", "rerun")


@dataclass(frozen=True)
class Paths:
    """Where data is read and runs are written."""

    data_dir: str
    output_dir: str

    def __post_init__(self) -> None:
        for key in ("data_dir", "output_dir"):
            if not getattr(self, key).strip():
                raise ValueError(f"paths.{key} must name a folder; the working folder is paths.{key}=.")


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
    """The settings of a training run, in the order of conf/train.yaml."""

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
    init_flags: str | None = None
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
        if self.init_flags is not None and self.init_from is None:
            raise ValueError("init_flags say what the weights of init_from are of, and there are none")

    def as_node(self) -> dict[str, Any]:
        """Return the run's config as a new plain container: what `config.yaml` records and `config_hash` hashes.

        What says how a sweep runs its jobs, or a subclass adds, is no part of it.
        """
        values = asdict(self)
        names = (field.name for field in fields(TrainConfig))
        return {name: values[name] for name in names if name not in SWEEP_KEYS}

    def resuming(self, folder: str) -> Self:
        """Return a copy that goes on with the run in a folder, whatever weights that run had started from."""
        return replace(self, resume=folder, init_from=None, init_flags=None)

    def with_absolute_paths(self) -> Self:
        """Return a copy whose paths mean the same from another working directory."""
        paths = Paths(data_dir=_absolute(self.paths.data_dir), output_dir=_absolute(self.paths.output_dir))
        return replace(self, paths=paths, init_from=None if self.init_from is None else _absolute(self.init_from))


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


@dataclass(frozen=True, kw_only=True)
class TrainFeaturesConfig:
    """The settings of a feature network that is trained."""

    data: Part
    console: Part
    paths: Paths
    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    shift: int
    label_smoothing: float
    seed: int
    device: str
    out: str | None

    def __post_init__(self) -> None:
        below_2_to_32("seed", self.seed)
        if self.out is not None and not self.out.endswith(".safetensors"):
            raise ValueError(f"out must name a .safetensors file, got {self.out}")


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
