"""Samples on the disk, with what made them, so that every draw has a name of its own and can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusion_lab.codecs import Codec
from diffusion_lab.config.build import TRANSFORMS, Parts
from diffusion_lab.config.schema import Sampling, TrainConfig
from diffusion_lab.config.tree import option_of
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.sampling import Draw, Pipeline, Trajectory

ANIMATION_FRAMES = 50
#: How many samples figures show.
SHOWN = 64


@dataclass(frozen=True)
class DrawFacts:
    """The settings that decide the samples of a draw.

    Attributes:
        sampler, grid: their config nodes.
        transforms: the config node of each transform of the denoiser, by its group, in order.
        condition: the label of each sample; None without labels.
        weights: ``ema``, ``raw`` or the key of an average.
        weights_hash: of the weights that drew, as in the manifest.
        step: how many optimizer steps the weights have seen.
        num_samples, seed, precision: as they were typed.
        given: what else was given to the draw, such as ``inpaint``; a key of the record for each, and none without.
    """

    sampler: Mapping[str, Any]
    grid: Mapping[str, Any]
    transforms: Mapping[str, Any]
    condition: list[Any] | None
    weights: str
    weights_hash: str
    step: int
    num_samples: int
    seed: int
    precision: str
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """All settings, as they are recorded."""
        settings = dict(vars(self))
        return settings | dict(settings.pop("given"))

    @property
    def name(self) -> str:
        """A folder's name: what people look for first, and a short hash of all of it."""
        words = [sampler_words(self.sampler), f"step{self.step}", f"seed{self.seed}"]
        text = json.dumps(self.content, sort_keys=True, default=dict)
        return "_".join([*words, f"n{self.num_samples}", hashlib.blake2b(text.encode(), digest_size=3).hexdigest()])


def sampler_words(node: Mapping[str, Any]) -> str:
    """Return the option of ``sampler=`` that a config node is, or its class, and its number of steps, if it has one."""
    steps = node.get("num_steps")
    return "-".join([option_of("sampler", node), *([] if steps is None else [str(steps)])])


def draw_recorded(pipeline: Pipeline, sampling: Sampling, progress: bool) -> tuple[Draw, Trajectory]:
    """Draw as `sampling` says, and record how the first samples came about."""
    trajectory = Trajectory(ANIMATION_FRAMES, keep=min(SHOWN, sampling.num_samples, sampling.batch_size))
    drawn = pipeline.draw(
        sampling.num_samples, sampling.seed, sampling.batch_size, trajectory=trajectory, progress=progress
    )
    return drawn, trajectory


def transforms_of(settings: TrainConfig) -> dict[str, Any]:
    """Return the config node of each transform of the denoiser, by its group."""
    nodes = {group: getattr(settings, group) for group in TRANSFORMS}
    return {group: node for group, node in nodes.items() if node}


def labels_of(drawn: Draw) -> list[Any] | None:
    """Return the condition of each sample as a plain list; None without one."""
    return None if drawn.condition is None else drawn.condition.tolist()


def save_final_draw(drawn: Draw, settings: TrainConfig, parts: Parts, step: int, folder: RunFolder) -> None:
    """Write the samples that are drawn at the end of training, and what made them, to ``samples/final.*``."""
    facts = DrawFacts(
        sampler=settings.sampler,
        grid=settings.grid,
        transforms=transforms_of(settings),
        condition=labels_of(drawn),
        weights="ema" if settings.ema else "raw",
        weights_hash=weights_hash(parts.module.state_dict()),
        step=step,
        num_samples=settings.sampling.num_samples,
        seed=settings.sampling.seed,
        precision="32-true",
    )
    place = folder.samples / "final.npy"
    how = {"checkpoint": "last", "batch_size": settings.sampling.batch_size}
    save_draw(drawn, parts.pipeline.codec, facts, place, place.with_suffix(".json"), **how)


def save_draw(drawn: Draw, codec: Codec, facts: DrawFacts, samples: Path, record: Path, **more: Any) -> list[Path]:
    """Write the samples to the NumPy file `samples` and what made them, with `more`, to the JSON file `record`."""
    files = codec.save(drawn.samples, samples)
    content = {
        **facts.content,
        "evaluations": drawn.evaluations,
        "shape": list(drawn.samples.shape),
        "dtype": str(drawn.samples.dtype).removeprefix("torch."),
        **more,
    }
    write_text(record, json.dumps(content, indent=2, ensure_ascii=False, default=dict) + "\n")
    return [*files, record]
