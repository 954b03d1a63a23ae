"""Draws that were written to a run folder, read again. Like the run folder, they are untrusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.config.tree import option_of
from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import open_bounded, read_json

#: What decides samples besides the parts of a pipeline: values, of which some are given to a draw of text.
_PLAIN = ("weights", "step", "seed", "precision", "prompt", "infill", "blank", "length")


@dataclass(frozen=True)
class RecordedDraw:
    """A folder that scripts/sample.py wrote.

    Attributes:
        folder: where it lies.
        facts: the settings that decide its samples, by dotted keys such as ``sampler.num_steps``.
        evaluations: how often the network was evaluated for each sample.
        labels: [N] the label of each sample; None without labels.
    """

    folder: Path
    facts: Mapping[str, Any]
    evaluations: float
    labels: list[int] | None

    @property
    def run(self) -> Path:
        """The run folder that the draw lies in."""
        return self.folder.parent.parent

    def samples(self, rows: slice | list[int]) -> Tensor:
        """Return the samples with these numbers, [n, *D] in their own dtype; only these are read.

        Raises:
            LabError: naming the file, if it is damaged or has fewer samples.
        """
        path = self.folder / "samples.npy"
        try:
            with open_bounded(path):
                stored = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
            if stored.ndim < 1 or stored.dtype.kind not in "fiu":
                raise ValueError("it holds no samples")
            return torch.from_numpy(np.array(stored[rows]))
        except (OSError, ValueError, IndexError, TypeError, OverflowError) as error:
            raise LabError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error


def find_draws(paths: Iterable[str]) -> list[RecordedDraw]:
    """Return the draws in `paths`, each once: run folders, folders of draws, or glob patterns of these.

    Raises:
        LabError: naming a path that does not exist or holds no draw, or a draw's file that is damaged.
    """
    found: dict[Path, RecordedDraw] = {}
    for text in paths:
        folders = sorted(set(_folders(text)))
        if not folders:
            raise LabError(
                f"{text} holds no draw: scripts/sample.py run_dir=… writes them, a folder with a draw.json each"
            )
        for folder in folders:
            found.setdefault(folder.resolve(), _read(folder))
    return list(found.values())


def _folders(text: str) -> Iterator[Path]:
    """Yield the folders of draws that a path or a glob pattern stands for."""
    path = Path(text).expanduser()
    root = Path(path.anchor)
    matches = [path] if path.exists() else sorted(root.glob(str(path.relative_to(root))))
    if not matches:
        raise LabError(f"there is no folder {text}")
    for match in matches:
        for record in (match / "draw.json", *match.glob("*/draw.json"), *match.glob("samples/*/draw.json")):
            if record.is_file() and not record.parent.name.startswith("."):  # a draw that is being written
                yield record.parent


def _read(folder: Path) -> RecordedDraw:
    path = folder / "draw.json"
    content = read_json(path)
    labels, evaluations = content.get("condition"), content.get("evaluations")
    if not isinstance(content.get("sampler"), dict) or not isinstance(evaluations, int | float):
        raise LabError(f"{path} is damaged: it does not say which sampler drew, with how many evaluations")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, int) for label in labels)):
        raise LabError(f"{path} is damaged: condition must be a list of labels")
    parts = {group: content.get(group) for group in ("sampler", "grid")}
    transforms = content.get("transforms")
    if isinstance(transforms, dict):
        parts |= transforms
    facts: dict[str, Any] = {key: content[key] for key in _PLAIN if key in content}
    for group, node in parts.items():
        if isinstance(node, dict) and "_target_" in node:
            facts[group] = option_of(group, node)
            facts |= {f"{group}.{key}": value for key, value in node.items() if key != "_target_"}
        else:
            facts[group] = "none"
    for name in ("invert", "inpaint"):  # what was given to the draw, if anything
        node = content.get(name)
        facts |= {f"{name}.{key}": value for key, value in node.items()} if isinstance(node, dict) else {}
    return RecordedDraw(folder, facts, evaluations, labels)
