"""Samples on the disk, with what made them, so that every draw has a name of its own and can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_lab.codecs import Codec
from diffusion_lab.config.build import TRANSFORMS
from diffusion_lab.run_folder.folder import write_text
from diffusion_lab.sampling import Draw, Pipeline, Trajectory

ANIMATION_FRAMES = 50
#: How many samples figures show.
SHOWN = 64


@dataclass(frozen=True)
class DrawFacts:
    """The settings that decide the samples of a draw.

    Attributes:
        sampler: its config node.
        transforms: the config node of each transform of the denoiser, by its group, in order.
        condition: the label of each sample; None without labels.
        weights: ``ema`` or ``raw``.
        weights_hash: of the weights that drew, as in the manifest.
        step: how many optimizer steps the weights have seen.
        num_samples, seed, precision: as they were typed.
    """

    sampler: Mapping[str, Any]
    transforms: Mapping[str, Any]
    condition: list[Any] | None
    weights: str
    weights_hash: str
    step: int
    num_samples: int
    seed: int
    precision: str

    @property
    def name(self) -> str:
        """A folder's name: what people look for first, and a short hash of all of it."""
        sampler = str(self.sampler["_target_"]).rpartition(".")[2].lower()
        steps = self.sampler.get("num_steps")
        words = [sampler if steps is None else f"{sampler}{steps}", f"step{self.step}", f"seed{self.seed}"]
        text = json.dumps(vars(self), sort_keys=True, default=dict)
        return "_".join([*words, f"n{self.num_samples}", hashlib.blake2b(text.encode(), digest_size=3).hexdigest()])


def draw_recorded(pipeline: Pipeline, sampling: Mapping[str, Any], progress: bool) -> tuple[Draw, Trajectory]:
    """Draw as `sampling` says (num_samples, seed, batch_size), and keep how the first samples came about."""
    keep = min(SHOWN, sampling["num_samples"], sampling["batch_size"])
    trajectory = Trajectory(ANIMATION_FRAMES, keep)
    drawn = pipeline.draw(
        sampling["num_samples"], sampling["seed"], sampling["batch_size"], trajectory=trajectory, progress=progress
    )
    return drawn, trajectory


def transforms_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config node of each transform of the denoiser in a run's config."""
    return {group: dict(node[group]) for group in TRANSFORMS if node[group]}


def save_draw(drawn: Draw, codec: Codec, facts: DrawFacts, samples: Path, record: Path, **more: Any) -> list[Path]:
    """Write the samples to the NumPy file `samples` and what made them, with `more`, to the JSON file `record`."""
    files = codec.save(drawn.samples, samples)
    content = {
        **vars(facts),
        "evaluations": drawn.evaluations,
        "shape": list(drawn.samples.shape),
        "dtype": str(drawn.samples.dtype).removeprefix("torch."),
        **more,
    }
    write_text(record, json.dumps(content, indent=2, ensure_ascii=False, default=dict) + "\n")
    return [*files, record]
