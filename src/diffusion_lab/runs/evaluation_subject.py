"""The subject of the evaluations of a run: its pipeline, its data, and samples that are drawn when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from diffusion_lab.data import DataModule
from diffusion_lab.evaluation import Samples
from diffusion_lab.runs.stored_draws import StoredDraws
from diffusion_lab.sampling import Draw, Pipeline


@dataclass(frozen=True)
class RunSubject:
    """A trained model: see `diffusion_lab.evaluation.Subject`.

    Attributes:
        pipeline: draws samples.
        data: the real data, which must be there.
        stored: where samples are drawn to.
        num_samples: how many are drawn for each seed, if an evaluation does not say it.
        seed: the first sampling seed.
        bar: whether progress bars may be shown.
        drawn: the samples of the first seed that were drawn anyway; None if none were.
        helpers: is called with the number of samples and the seeds before they are drawn, and returns which share of
            the batches this process draws, and what to call when it has drawn it; None to draw all of them here.
    """

    pipeline: Pipeline
    data: DataModule
    stored: StoredDraws
    num_samples: int
    seed: int
    bar: bool
    drawn: Draw | None = None
    helpers: Callable[[int, Sequence[int]], tuple[tuple[int, int], Callable[[], None]]] | None = None

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return next(self.pipeline.network.parameters()).device

    def draws(self, num_samples: int | None = None, seeds: int = 1) -> Sequence[Samples]:
        """Return samples for each of `seeds` sampling seeds: see `diffusion_lab.evaluation.Subject`."""
        if self.drawn is not None and num_samples is None and seeds == 1:
            return [Samples(self.drawn.samples, self.drawn.condition, self.drawn.evaluations)]
        count = self.num_samples if num_samples is None else num_samples
        chosen = range(self.seed, self.seed + seeds)
        share, finish = ((0, 1), None) if self.helpers is None else self.helpers(count, chosen)
        self.stored.draw(self.pipeline, count, chosen, self.bar, share)
        if finish is not None:
            finish()
        labels, evaluations = self.pipeline.labels_in_turn(count), self.stored.evaluations(count, chosen)
        return [Samples(self.stored.read(self.data.shape, count, seed), labels, evaluations) for seed in chosen]
