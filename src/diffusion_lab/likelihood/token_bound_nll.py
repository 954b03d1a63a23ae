"""The evidence lower bound of discrete diffusion, by states at random times."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion_lab.likelihood.token_likelihood import TokenLikelihood
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.processes import DiscreteProcess, TokenPrediction, position_times


class TokenBoundNLL(TokenLikelihood):
    """The mean of `DiscreteProcess.bound` over uniform times, and the term of the prior.

    Where a schedule has destroyed some tokens at t = 0 already, the data given such a state is paid for, too: one more
    evaluation of the network, at t = 0, or the first of T steps.

    A network that sees blocks is asked for each block given the clean ones before it, at a time of its own.

    Args:
        num_times, num_items, split, batch_size, seed: see `TokenLikelihood`.
    """

    estimator = "the bound at random times"

    def terms(
        self, process: DiscreteProcess, denoiser: Denoiser, z0: Tensor, condition: Tensor | None, noise: Noise
    ) -> Iterator[Tensor]:
        steps = process.schedule.steps
        for number in range(self.num_times):
            t = (number + 1 - noise.at("time", number).uniform()) / self.num_times  # above 0
            if steps is not None:
                t = (t * steps).ceil() / steps
            t = position_times(t, denoiser.block_size, z0, steps, noise.at("blocks", number))
            z_t = process.sample(z0, t, noise.at("state", number)).z_t
            prediction = denoiser(z_t, t, condition, z0)
            assert isinstance(prediction, TokenPrediction)
            yield process.bound(prediction, z0, z_t, t).double()

    def ends(
        self, process: DiscreteProcess, denoiser: Denoiser, z0: Tensor, condition: Tensor | None, noise: Noise
    ) -> Tensor:
        prior = process.prior_kl(z0) / z0[0].numel()
        if process.schedule.ends_clean:
            return prior
        start = torch.zeros(len(z0), dtype=torch.float64, device=z0.device)
        z = process.sample(z0, start, noise.at("decoder")).z_t
        known = start + (1 / process.schedule.steps if process.schedule.steps else 0)  # the first time of training
        t = known if denoiser.block_size is None else known[:, None].expand(z0.shape)
        prediction = denoiser(z, t, condition, z0)
        assert isinstance(prediction, TokenPrediction)
        log_probs = process.clean_posterior(prediction, z, start)
        return prior - log_probs.gather(-1, z0[..., None]).flatten(1).mean(1)
