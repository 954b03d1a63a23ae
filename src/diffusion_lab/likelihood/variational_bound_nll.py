"""The variational bound on the negative log-likelihood, with its three terms.

Ho et al. 2020, eq. 5, for a process of T steps; Kingma et al. 2021 (VDM), eq. 11 and 17, for continuous time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab.codecs import Codec
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood.base import Items, LikelihoodEstimator, LikelihoodResult, least_noise, standard_error
from diffusion_lab.likelihood.bound_forms import BoundForm, ContinuousBound, DiscreteBound
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClipX0, Pipeline


@dataclass(frozen=True)
class BoundResult(LikelihoodResult):
    """The bound is the sum of its terms, all [N] float64 in bits per dimension.

    Attributes:
        prior: how far the noisiest state is from the prior.
        steps: what the steps back lose, without the last.
        decoder: how improbable the data is after the last step.
    """

    prior: Tensor
    steps: Tensor
    decoder: Tensor

    def as_dict(self) -> dict[str, float | str | None]:
        terms = {name: getattr(self, name) for name in ("prior", "steps", "decoder")}
        means = {name: float(of.mean()) for name, of in terms.items()}
        return super().as_dict() | means | {f"{name}_error": standard_error(of) for name, of in terms.items()}

    def summary(self) -> str:
        return (
            f"NLL at most {super().summary()} by the variational bound (prior {float(self.prior.mean()):.4f} + steps "
            f"{float(self.steps.mean()):.4f} + decoder {float(self.decoder.mean()):.4f}); "
            f"{self.evaluations:,.0f} evaluations for each"
        )


class VariationalBoundNLL(LikelihoodEstimator):
    """The bound of a chain of T steps, or of its limit for many steps where time is continuous.

    With T steps it is KL(q(z_T|x) ‖ prior) + Σ_n KL(q(z_s|z_t, x) ‖ p(z_s|z_t)) − log p(x|z_1), of which the last is
    the codec's probability of the data under the last step. In continuous time the sum becomes an integral of the
    squared error, which depends on no more of the schedule than the noise at its ends (VDM, eq. 18), and the data has
    its probability under N(x0, r²) with the predicted x0 at the least noise r = sigma/alpha = `min_noise`.

    Clipping predicted data, as published bounds do, gives the chain that also samples with clipping: the bound holds
    for it as it does for the chain without.

    Args:
        num_times: at how many steps the sum is taken for each item, or at how many times the integral is: one at
            random from each of so many equally likely strata, which is unbiased. None for all T steps; in continuous
            time it must be given.
        variance: of a step back with T steps, if it is not learned: ``beta`` or ``beta_tilde``.
        clip: whether predicted data is clipped to the range of codes.
        min_noise: in continuous time, where the integral starts; None: as `least_noise` says.
        num_items, split, batch_size, seed: as for every `LikelihoodEstimator`.

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        num_times: int | None = None,
        variance: Literal["beta", "beta_tilde"] = "beta",
        clip: bool = True,
        min_noise: float | None = None,
        num_items: int | None = None,
        split: Literal["train", "val", "test"] = "test",
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__(num_items, split, batch_size, seed)
        if num_times is not None and num_times < 1:
            raise ValueError(f"num_times must be at least 1, or null for all steps, got {num_times}")
        if min_noise is not None and not min_noise > 0:
            raise ValueError(f"min_noise must be above 0, or null, got {min_noise}")
        self.num_times = num_times
        self.variance: Literal["beta", "beta_tilde"] = variance
        self.clip = clip
        self.min_noise = min_noise

    def check_process(self, process: Gaussian, codec: Codec) -> None:
        if any(True for _ in codec.parameters()):
            name = type(codec).__name__
            raise LabError(f"the bound is for codes that are data, and codec={name} learns them: take embedding_bound")
        schedule = type(process.schedule).__name__
        if process.schedule.steps is None:
            if self.num_times is None:
                raise LabError(
                    f"{schedule} is in continuous time, where the bound is an integral: set num_times, at how many "
                    "times it is taken for each item (such as num_times=100)"
                )
        elif self.min_noise is not None:
            raise LabError(f"min_noise is for continuous time, and {schedule} has steps: its least noise is the first")
        self._form(process, codec)

    def estimate(
        self, pipeline: Pipeline, process: Gaussian, items: Items, device: torch.device, bar: tqdm
    ) -> LikelihoodResult:
        form = self._form(process, pipeline.codec)
        denoiser = pipeline.plain_denoiser
        predict = ClipX0(pipeline.codec)(denoiser) if self.clip else denoiser
        batches = [items.take(slice(first, first + self.batch_size)) for first in range(0, len(items), self.batch_size)]
        bar.reset(total=len(items) * (1 + form.count(self.num_times)))
        before = denoiser.evaluations
        terms = []
        for batch in batches:
            noise = self.noise(batch.rows.to(device))
            condition = None if batch.condition is None else batch.condition.to(device)
            with torch.inference_mode():
                x = batch.x.to(device, torch.float64)
                z0 = pipeline.codec.encode(x)

                def predicted(
                    t: Tensor, noise: Noise, z0: Tensor = z0, condition: Tensor | None = condition
                ) -> GaussianPrediction:
                    bar.update(len(z0))
                    prediction = predict(process.sample(z0, t, noise).z_t, t, condition)
                    assert isinstance(prediction, GaussianPrediction)
                    return prediction

                prior = process.prior_kl(z0) / z0[0].numel() / math.log(2)
                first = torch.full_like(prior, form.first_time)
                decoder = form.decoder(x, z0, predicted(first, noise.at("decoder")), first)
                steps = torch.zeros_like(prior)
                for number, (t, weight) in enumerate(form.times(noise.at("times"), self.num_times)):
                    steps += weight * form.term(z0, predicted(t, noise.at("state", number)), t)
            terms.append(torch.stack([prior, steps, decoder]).cpu())
        prior, steps, decoder = torch.cat(terms, dim=1)
        evaluations = (denoiser.evaluations - before) / len(items)
        bits = prior + steps + decoder
        return BoundResult(bits, items.rows, items.x[0].numel(), evaluations, prior, steps, decoder)

    def _form(self, process: Gaussian, codec: Codec) -> BoundForm:
        if process.schedule.steps is None:
            return ContinuousBound(process, codec, least_noise(process, codec, self.min_noise))
        return DiscreteBound(process, codec, process.schedule.steps, self.variance)
