"""The terms of the variational bound: of a chain of T steps, and of its limit for many steps.

Ho et al. 2020, eq. 5; Kingma et al. 2021 (VDM), eq. 17 and 18.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.codecs import Codec
from diffusion_lab.distributions import Normal
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import bound_term
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian


class BoundForm(ABC):
    """The terms of the bound, in bits per dimension.

    Attributes:
        first_time: of the state that the data is decoded from.
    """

    first_time: float

    @abstractmethod
    def count(self, num_times: int | None) -> int:
        """Return how many times `times` yields."""

    @abstractmethod
    def times(self, noise: Noise, num_times: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield times [B] float64 and their weights [B]: the weighted sum of `term` estimates the loss of all steps."""

    @abstractmethod
    def term(self, z0: Tensor, prediction: GaussianPrediction, t: Tensor) -> Tensor:
        """Return the loss [B] at times t [B]."""

    @abstractmethod
    def decoder(self, x: Tensor, z0: Tensor, prediction: GaussianPrediction, t: Tensor) -> Tensor:
        """Return the bits [B] of data x given its state at the first time."""


class DiscreteBound(BoundForm):
    """T steps. Random ones are drawn with probabilities in proportion to what they lose where data is N(0, 1).

    That is (SNR_s − SNR_t)/(1 + SNR_t): terms differ by orders of magnitude, and in much the same way for any data. A
    tenth of the draws is uniform, so that no step is left out.

    Args:
        process: of T steps.
        codec: says how probable the data is.
        total: T.
        variance: of a step back, if the prediction has none.
        first: the row of the state that the data is decoded from.
    """

    def __init__(
        self,
        process: Gaussian,
        codec: Codec,
        total: int,
        variance: Literal["beta", "beta_tilde"],
        first: int = 1,
    ) -> None:
        self.process, self.codec, self.variance = process, codec, variance
        self.total, self.first = total, first
        self.first_time = first / total
        log_snr = process.schedule.log_snr(torch.arange(first, total + 1, dtype=torch.float64) / total)
        before, after = log_snr[:-1], log_snr[1:]  # of s and t, for the steps from the row after the first to n = T
        lost = before.exp() * -torch.expm1(after - before) * torch.sigmoid(-after)
        self.probabilities = 0.9 * lost / lost.sum() + 0.1 / max(len(lost), 1)

    def count(self, num_times: int | None) -> int:
        return min(self.total - self.first, num_times or self.total)

    def times(self, noise: Noise, num_times: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        every = torch.ones(len(noise.rows), dtype=torch.float64, device=noise.rows.device)
        count = self.count(num_times)
        if count == self.total - self.first:
            for row in range(self.first + 1, self.total + 1):
                yield row / self.total * every, every
            return
        probabilities = self.probabilities.to(every.device)
        limits = probabilities.cumsum(0)
        for stratum in range(count):
            place = (stratum + noise.at(stratum).uniform()) / count * limits[-1]
            step = torch.searchsorted(limits, place, right=True).clamp(max=self.total - self.first - 1)
            yield (step + self.first + 1).double() / self.total, 1 / (count * probabilities[step])

    def term(self, z0: Tensor, prediction: GaussianPrediction, t: Tensor) -> Tensor:
        return bound_term(self.process, self.codec, z0, t, prediction, self.variance)

    def decoder(self, x: Tensor, z0: Tensor, prediction: GaussianPrediction, t: Tensor) -> Tensor:
        return self.term(z0, prediction, t)


class ContinuousBound(BoundForm):
    """The limit of many steps: ½ ∫ ‖x0 − x̂0‖² dSNR from the end of the schedule to its least noise.

    With s = sigma/√(alpha² + sigma²) that is the integral of ‖x0 − x̂0‖²/s² over ln s, which is finite at both ends,
    also where the SNR is 0. For data N(0, 1) the expected integrand is 1 everywhere, so that strata are even in ln s.

    Args:
        process: in continuous time.
        codec: says how probable the data is.
        noise: sigma/alpha where there is the least noise.
    """

    def __init__(self, process: Gaussian, codec: Codec, noise: float) -> None:
        self.process, self.codec, self.noise = process, codec, noise
        self.first_time = float(process.schedule.time(torch.tensor(-2 * math.log(noise), dtype=torch.float64)))
        end = process.schedule.log_snr(torch.ones((), dtype=torch.float64))
        self.low = math.log(noise / math.hypot(1, noise))
        self.range = float(functional.logsigmoid(-end)) / 2 - self.low

    def count(self, num_times: int | None) -> int:
        assert num_times is not None
        return num_times

    def times(self, noise: Noise, num_times: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        count = self.count(num_times)
        for stratum in range(count):
            place = (stratum + noise.at(stratum).uniform()) / count
            log_share = self.low + place * self.range  # ln s, at most 0
            t = self.process.schedule.time(torch.log(-torch.expm1(2 * log_share)) - 2 * log_share)
            yield t, torch.full_like(t, self.range / count)

    def term(self, z0: Tensor, prediction: GaussianPrediction, t: Tensor) -> Tensor:
        error = (prediction.x0 - z0).double().square().flatten(1).mean(1)
        return error / torch.sigmoid(-self.process.schedule.log_snr(t)) / math.log(2)

    def decoder(self, x: Tensor, z0: Tensor, prediction: GaussianPrediction, t: Tensor) -> Tensor:
        normal = Normal(prediction.x0, torch.full_like(z0, self.noise))
        return -self.codec.log_likelihood(x, normal) / z0[0].numel() / math.log(2)
