"""The variational bound of tokens that are diffused as vectors (Li et al. 2022, eq. 2; Kingma et al. 2021, VDM)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab.codecs import Codec, TokenEmbedding
from diffusion_lab.distributions import Normal
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood.base import Items, LikelihoodEstimator, standard_error
from diffusion_lab.likelihood.bound_forms import ContinuousBound, DiscreteBound
from diffusion_lab.likelihood.token_likelihood import TokenResult
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import Pipeline
from diffusion_lab.schedules import NoisyData


@dataclass(frozen=True)
class EmbeddingBoundResult(TokenResult):
    """The bound is the sum of its terms, all [N] float64 in bits per token.

    Attributes:
        prior: how far the noisiest state is from the prior.
        steps: what the steps back lose.
        decoder: how improbable the tokens are after the last step.
    """

    prior: Tensor
    steps: Tensor
    decoder: Tensor

    def as_dict(self) -> dict[str, float | str | None]:
        numbers = super().as_dict()
        for name in ("prior", "steps", "decoder"):
            nats = getattr(self, name) * math.log(2)
            numbers |= {f"{name}_nats_per_token": float(nats.mean()), f"{name}_nats_error": standard_error(nats)}
        return numbers


class EmbeddingBoundNLL(LikelihoodEstimator):
    """KL(q(z_1|w) ‖ prior) + Σ KL(q(z_s|z_t, w) ‖ p(z_s|z_t)) − log p(w|z_first), in nats and bits per token.

    Codes are x0 ~ N(E(w), r²), with the codec's noise r, so that all z_t given the tokens w are normal, with the mean
    alpha E(w) and the variance sigma² + alpha² r² (`NoisyData`): x0 need not be a state of the chain of its own. The
    network predicts x0, and given x0 and z_t the vector is known: E[x0 | z_t, w] = E(w) + g (z_t − alpha E(w)) with
    g = alpha r²/(sigma² + alpha² r²). Solved for E(w), that is what the prediction says of it, and the step back is
    q(z_s|z_t, w) with it in the place of E(w). From the last state of the chain, the one with the least noise, the head
    reads the tokens from the predicted x0, as a sampler's last step does. No prediction is clamped.

    Any network, and any such state, gives a bound. Where tokens are told apart long before the noise is gone, a network
    that is not exact loses at each further step, and a chain that ends earlier has a lower bound.

    Args:
        num_times: at how many steps the sum is taken for each sequence, or at how many times the integral is in
            continuous time: one at random from each of so many equally likely strata.
        min_noise: sigma/alpha where there is the least noise; with T steps, the first row that has as much. None for
            the first row, and in continuous time for the codec's noise, or that at t = 0 if it is more.
        num_items, split, batch_size, seed: as for every `LikelihoodEstimator`.

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        num_times: int = 64,
        min_noise: float | None = None,
        num_items: int | None = None,
        split: Literal["train", "val", "test"] = "val",
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(num_items, split, batch_size, seed)
        if num_times < 1:
            raise ValueError(f"num_times must be at least 1, got {num_times}")
        if min_noise is not None and not min_noise > 0:
            raise ValueError(f"min_noise must be above 0, or null, got {min_noise}")
        self.num_times = num_times
        self.min_noise = min_noise

    def check_process(self, process: Gaussian, codec: Codec) -> None:
        if not isinstance(codec, TokenEmbedding):
            raise LabError(f"the bound of embeddings needs codec=embedding, got {type(codec).__name__}")
        self._form(process, codec)

    def estimate(
        self, pipeline: Pipeline, process: Gaussian, items: Items, device: torch.device, bar: tqdm
    ) -> EmbeddingBoundResult:
        codec, denoiser = pipeline.codec, pipeline.plain_denoiser
        assert isinstance(codec, TokenEmbedding)
        form = self._form(process, codec)
        noisy = form.process
        bar.reset(total=len(items) * (1 + form.count(self.num_times)))
        before, terms = denoiser.evaluations, []
        for start in range(0, len(items), self.batch_size):
            batch = items.take(slice(start, start + self.batch_size))
            noise = self.noise(batch.rows.to(device))
            condition = None if batch.condition is None else batch.condition.to(device)
            with torch.inference_mode():
                x = batch.x.to(device)
                z0 = codec.encode(x)

                def predicted(
                    t: Tensor, noise: Noise, z0: Tensor = z0, condition: Tensor | None = condition
                ) -> GaussianPrediction:
                    bar.update(len(z0))
                    prediction = denoiser(noisy.sample(z0, t, noise).z_t, t, condition)
                    assert isinstance(prediction, GaussianPrediction)
                    return prediction

                prior = noisy.prior_kl(z0) / math.log(2)
                first = torch.full_like(prior, form.first_time)
                codes = predicted(first, noise.at("decoder")).x0
                decoder = -codec.log_likelihood(x, Normal(codes, torch.zeros_like(codes))).double() / math.log(2)
                steps = torch.zeros_like(prior)
                for number, (t, weight) in enumerate(form.times(noise.at("times"), self.num_times)):
                    prediction = predicted(t, noise.at("state", number))
                    of_vectors = prediction.with_x0(vectors_of(prediction, codec.noise))
                    steps += weight * form.term(z0, of_vectors, t) * z0[0].numel()
            terms.append(torch.stack([prior, steps, decoder]).cpu() / x.shape[1])
        prior, steps, decoder = torch.cat(terms, dim=1)
        evaluations = (denoiser.evaluations - before) / len(items)
        characters, tokens = codec.characters(items.x), items.x[0].numel()
        return EmbeddingBoundResult(
            prior + steps + decoder, items.rows, tokens, evaluations, characters,
            "the variational bound of embeddings", prior, steps, decoder,
        )  # fmt: skip

    def _form(self, process: Gaussian, codec: TokenEmbedding) -> DiscreteBound | ContinuousBound:
        """Return the terms of the chain of states given their vectors."""
        schedule = process.schedule
        noisy = Gaussian(NoisyData(schedule, codec.noise))
        first, last = (0.0 if schedule.steps is None else 1 / schedule.steps), 1.0
        least, most = (
            math.exp(-float(schedule.log_snr(torch.tensor(time, dtype=torch.float64))) / 2) for time in (first, last)
        )
        noise = max(least, 0.0 if schedule.steps else codec.noise) if self.min_noise is None else self.min_noise
        if not least <= noise < most:
            raise LabError(
                f"min_noise={noise:.4g} is no sigma/alpha of the schedule {type(schedule).__name__}, whose network "
                f"knows {least:.4g} to {most:.4g}"
            )
        if schedule.steps is None:
            return ContinuousBound(noisy, codec, math.hypot(codec.noise, noise))
        time = float(schedule.time(torch.tensor(-2 * math.log(noise), dtype=torch.float64)))
        return DiscreteBound(noisy, codec, schedule.steps, "beta_tilde", math.ceil(time * schedule.steps - 1e-6))


def vectors_of(prediction: GaussianPrediction, noise: float) -> Tensor:
    """Return the vectors E [B, *D] for which E[x0 | z_t, E] is the predicted x0, where x0 ~ N(E, noise²)."""
    z_t, alpha, sigma = prediction.z_t, prediction.alpha, prediction.sigma
    return prediction.x0 + alpha * (noise / sigma) ** 2 * (alpha * prediction.x0 - z_t)
