"""The bound of masked diffusion, by states with a given number of masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.codecs import Codec
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood.token_likelihood import TokenLikelihood
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, LogScores
from diffusion_lab.processes import Absorbing, TokenPrediction, block_times
from diffusion_lab.sampling import Pipeline
from diffusion_lab.sampling.unmask import random_masked, time_of_share


class MaskedCountNLL(TokenLikelihood):
    """The bound by states of which exactly l of L tokens are masked, l uniform in 1, …, L (Nie et al. 2025, eq. 6).

    The cross-entropy of the masked tokens has the weight L/l. It is the same bound as that of all times in continuous
    time, for a network that is not told the time, by another way: the two must agree within their errors. A network
    that sees blocks is asked for each given the clean ones before it, with a count of masks for each. A network of
    log-scores is refused: its bound also pays for scores that are no probabilities' ratios.

    The counts go from all masks to none, whatever the schedule leaves at t = 1 or has destroyed at t = 0, where the two
    bounds then differ by a little.

    Args:
        num_times, num_items, split, batch_size, seed: see `TokenLikelihood`.
    """

    estimator = "the bound by counts of masks"
    process_kind = Absorbing

    def _check_pipeline(self, pipeline: Pipeline) -> None:
        super()._check_pipeline(pipeline)
        if isinstance(pipeline.plain_denoiser.parameterization, LogScores):
            raise LabError(
                f"{type(self).__name__} is about probabilities, and scores need not be those of any: take "
                "evaluation=token_bound"
            )

    def check_process(self, process: Any, codec: Codec) -> None:
        """Raise LabError if the process has steps, whose bound is another one."""
        if process.schedule.steps is not None:
            raise LabError(
                f"{type(self).__name__} estimates the bound of continuous time, and the schedule has "
                f"{process.schedule.steps} steps: take evaluation=token_bound, or schedule.steps=null"
            )

    def terms(
        self, process: Absorbing, denoiser: Denoiser, z0: Tensor, condition: Tensor | None, noise: Noise
    ) -> Iterator[Tensor]:
        size = denoiser.block_size or z0.shape[1]
        everywhere = torch.ones_like(z0, dtype=torch.bool)
        for number in range(self.num_times):
            u = (number + noise.at("count", number).uniform()) / self.num_times
            u = block_times(u, z0.shape[1] // size, None, noise.at("blocks", number))
            count = 1 + (u * size).long().clamp(max=size - 1)  # [B, blocks], of which there is one without blocks
            masked = random_masked(everywhere, count, noise.at("masked", number))
            t = time_of_share(process.schedule, count / size)
            t = t[:, 0] if denoiser.block_size is None else t.repeat_interleave(size, dim=1)
            z_t = torch.where(masked, process.mask, z0)
            prediction = denoiser(z_t, t, condition, z0)
            assert isinstance(prediction, TokenPrediction)
            nll = torch.where(masked, prediction.nll(z0), 0)
            yield (nll.unflatten(1, (-1, size)).sum(2).double() / count).mean(1)
