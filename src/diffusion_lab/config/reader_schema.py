"""The typed settings of the scripts that read runs: they draw from them, list them and compare them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from diffusion_lab.config.schema import Part
from diffusion_lab.config.value_checks import at_least, below_2_to_32, check_tags

#: The config groups that a draw may change of a trained run.
CHANGED_BY_DRAWS = ("sampler", "grid", "guidance", "clip")


@dataclass(frozen=True)
class Inpaint:
    """The known part of samples that are to be completed: `image`, where `mask` is black; and how often and far RePaint
    goes back, also for a prompt or infill.
    """

    image: str | None
    mask: str | None
    jump_length: int | None
    resamplings: int | None

    def __post_init__(self) -> None:
        if (self.image is None) != (self.mask is None):
            there, lacks = ("mask", "image") if self.image is None else ("image", "mask")
            raise ValueError(f"inpaint.{there} needs inpaint.{lacks}, too")
        for name in ("jump_length", "resamplings"):
            if (number := getattr(self, name)) is not None:
                at_least(1, f"inpaint.{name}", number)


@dataclass(frozen=True)
class SampleConfig:
    """The settings of samples that are drawn from a run."""

    run_dir: str
    flags: str | None
    checkpoint: str
    weights: str
    num_samples: int
    batch_size: int
    seed: int
    trajectory: bool
    reconstruction: bool
    sampler: Part | None
    grid: Part | None
    guidance: Part | None
    clip: Part | None
    labels: int | list[int] | None
    invert: str | None
    inpaint: Inpaint
    prompt: str | None
    infill: str | None
    blank: str
    length: int | None
    device: str
    precision: str
    compile: bool
    console: Part

    def __post_init__(self) -> None:
        at_least(1, "num_samples", self.num_samples)
        if self.length is not None:
            at_least(1, "length", self.length)
        _check_draw(self)
        if self.labels == []:
            raise ValueError("labels must name at least one class, or be null for all in turn")
        typed = {"invert": self.invert, "inpaint": self.inpaint.image, "prompt": self.prompt, "infill": self.infill}
        chosen = [name for name, value in typed.items() if value is not None]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other: choose one")
        for name in ("jump_length", "resamplings"):
            if getattr(self.inpaint, name) is not None and (not chosen or self.invert is not None):
                raise ValueError(f"inpaint.{name} needs inpaint.image and inpaint.mask, too, or a prompt or infill")
        if self.length is not None and (self.invert is not None or self.inpaint.image is not None):
            raise ValueError(f"length does not go together with {chosen[0]}")
        if len(self.blank) != 1:
            raise ValueError(f"blank must be a single sign, got {self.blank!r}")
        if self.infill is not None and not (self.infill.strip(self.blank) and self.blank in self.infill):
            raise ValueError(f"infill must be a text with some {self.blank}, each of which stands for one token")

    @property
    def changes(self) -> dict[str, Any]:
        """What the draw changes of the run's config, by config group."""
        groups = {group: getattr(self, group) for group in CHANGED_BY_DRAWS}
        return {group: node for group, node in groups.items() if node is not None}


@dataclass(frozen=True)
class EvaluateConfig:
    """The settings of an evaluation of a run."""

    run_dir: str
    checkpoint: str
    weights: str
    evaluation: Part
    features: Part
    num_samples: int | None
    seeds: int | None
    split: Literal["train", "val", "test"] | None
    batch_size: int
    seed: int
    sampler: Part | None
    grid: Part | None
    guidance: Part | None
    clip: Part | None
    device: str
    precision: str
    compile: bool
    processes: int
    again: bool
    console: Part

    def __post_init__(self) -> None:
        for key in ("num_samples", "seeds"):
            if getattr(self, key) is not None:
                at_least(1, key, getattr(self, key))
        at_least(1, "processes", self.processes)
        _check_draw(self)


@dataclass(frozen=True)
class ExportConfig:
    """The settings of an export of a run's model."""

    run_dir: str
    format: Literal["safetensors", "diffusers", "onnx", "torch_export"]
    out: str
    checkpoint: str
    weights: str
    license: str | None
    push_to_hub: str | None
    private: bool
    console: Part

    def __post_init__(self) -> None:
        if self.push_to_hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.push_to_hub):
            raise ValueError(f"push_to_hub must be the name of a repository, me/my_model, got {self.push_to_hub!r}")
        if self.license is not None and not re.fullmatch(r"[\w.-]+", self.license):
            raise ValueError(f"license must be one word such as mit or cc-by-4.0, got {self.license!r}")


def _check_draw(settings: SampleConfig | EvaluateConfig) -> None:
    """Check what all draws have in common."""
    if settings.precision not in ("32-true", "bf16-mixed"):
        raise ValueError(f"precision must be 32-true or bf16-mixed, got {settings.precision}")
    at_least(1, "batch_size", settings.batch_size)
    at_least(0, "seed", settings.seed)
    below_2_to_32("seed", settings.seed)
    if not re.fullmatch(r"raw|ema|(ema|power)_\d*\.?\d+(e-\d+)?", settings.weights):
        raise ValueError(
            f"weights must be raw, ema or the key of an average, ema_0.999 or power_0.08, got {settings.weights[:40]}"
        )


@dataclass(frozen=True)
class RecipesConfig:
    """The settings of scripts/recipes.py: where the records, tables and figures of recipes lie."""

    records: str
    page: str
    figure: str


@dataclass(frozen=True)
class RunsConfig:
    """The settings of scripts/runs.py: which runs are listed, and what is done with them."""

    state: list[str]
    name: str | None
    tag: list[str]
    older_than: str | None
    metric: str | None
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
