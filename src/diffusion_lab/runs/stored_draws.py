"""Samples that are stored batch by batch: a draw that was stopped goes on, and several processes can share one."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_array, write_text
from diffusion_lab.machine.bounded_read import open_bounded, read_json
from diffusion_lab.machine.progress_bars import can_show_bars
from diffusion_lab.sampling import Pipeline, Step


@dataclass(frozen=True)
class Batch:
    """The samples `first` to `last` of a seed, the last one not included."""

    seed: int
    first: int
    last: int

    @property
    def file(self) -> str:
        return f"seed{self.seed}_{self.first:07d}_{self.last:07d}.npy"

    @property
    def record(self) -> str:
        """The file that says how often the network was evaluated for each of its samples."""
        return f"evaluations_{self.file.removesuffix('.npy')}.json"


class StoredDraws:
    """Draws of one pipeline, in a folder whose name says what decides them.

    Args:
        folder: where the batches lie; it is made with the first one.
        batch_size: how many samples are drawn at a time. A sample depends on it by rounding, so that a draw that goes
            on must have the same one.
        precision: as for `Pipeline.draw`.
        on_step: is called after each sampling step.
    """

    def __init__(
        self, folder: Path, batch_size: int, precision: str, on_step: Callable[[object], None] | None = None
    ) -> None:
        self.folder = folder
        self.batch_size = batch_size
        self.precision = precision
        self.on_step = on_step
        self._asked: set[Path] = set()

    def batches(self, num_samples: int, seeds: Sequence[int]) -> list[Batch]:
        """Return the batches of `num_samples` samples for each seed, in order."""
        size = self.batch_size
        return [
            Batch(seed, first, min(first + size, num_samples))
            for seed in seeds
            for first in range(0, num_samples, size)
        ]

    def draw(
        self,
        pipeline: Pipeline,
        num_samples: int,
        seeds: Sequence[int],
        bar: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Draw and store the batches that are not there yet.

        Args:
            pipeline: draws them.
            num_samples, seeds: see `batches`.
            bar: show a progress bar, where there is a terminal to show it on.
            share: (i, n): draw the i-th of n parts.

        Raises:
            LabError: if a draw ends in numbers that are not finite, or a file cannot be written.
        """
        part, parts = share
        batches = self.batches(num_samples, seeds)
        self._asked |= {self.folder / name for batch in batches for name in (batch.file, batch.record)}
        mine = batches[part::parts]
        stored = {path.name for path in self.folder.glob("*")}
        todo = [batch for batch in mine if not {batch.file, batch.record} <= stored]
        steps = len(pipeline.sampler.steps)
        progress = tqdm(
            total=len(mine) * steps,
            initial=(len(mine) - len(todo)) * steps,
            desc="sampling",
            unit="step",
            disable=not (bar and todo and can_show_bars()),
        )

        def advance(step: Step) -> None:
            progress.update()
            if self.on_step is not None:
                self.on_step(step)

        self.folder.mkdir(parents=True, exist_ok=True)
        with progress:
            for batch in todo:
                drawn = pipeline.draw(
                    batch.last - batch.first,
                    batch.seed,
                    self.batch_size,
                    on_step=advance,
                    precision=self.precision,
                    first=batch.first,
                )
                # Before the batch: a draw that is killed between the two lacks a batch, which is drawn again.
                write_text(self.folder / batch.record, json.dumps({"evaluations": drawn.evaluations}) + "\n")
                write_array(self.folder / batch.file, drawn.samples.numpy())

    def read(self, shape: Sequence[int], num_samples: int, seed: int) -> Tensor:
        """Return the samples [num_samples, *shape] of a seed, all of which are stored.

        Raises:
            LabError: naming a file that is damaged.
        """
        parts = []
        for batch in self.batches(num_samples, [seed]):
            path = self.folder / batch.file
            try:
                with open_bounded(path):
                    stored = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
                if stored.shape != (batch.last - batch.first, *shape) or stored.dtype.kind not in "fiu":
                    raise ValueError(f"it holds {list(stored.shape)} of {stored.dtype}")
                parts.append(torch.from_numpy(np.array(stored)))
            except (OSError, ValueError, TypeError, OverflowError) as error:
                raise LabError(f"{path} is damaged: {' '.join(str(error).split())[:200]}; remove it") from error
        return torch.cat(parts)

    def evaluations(self, num_samples: int, seeds: Sequence[int]) -> float:
        """Return how often the network was evaluated for each of these samples, in the mean.

        Raises:
            LabError: naming a file that says so, if it is damaged.
        """
        total = 0.0
        for batch in self.batches(num_samples, seeds):
            path = self.folder / batch.record
            number = read_json(path).get("evaluations")
            if not isinstance(number, int | float):
                raise LabError(
                    f"{path} is damaged: it does not say how often the network was evaluated; remove its folder"
                )
            total += number * (batch.last - batch.first)
        return total / (num_samples * len(seeds))

    def remove_asked(self) -> None:
        """Remove the batches that were asked for; others may be those of an evaluation that has not ended."""
        for file in self._asked:
            with contextlib.suppress(OSError):
                file.unlink()
        if not any(self.folder.glob("*.npy")):
            self.remove()

    def remove(self) -> None:
        """Remove the folder, and the one above it if nothing else is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()
