"""Learned variance (Nichol & Dhariwal 2021, section 3.1): beside what it predicts, the network says how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, Noised, per_sample


def log_variance_between(process: Gaussian, fraction: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Return fraction · log β + (1 − fraction) · log β̃ [B, *D] for the step back from t to s, both [B].

    Where β̃ = 0, at s = 0, that of the step before, which leads to t, stands for it, as in the paper's code.

    Args:
        process: a Gaussian process.
        fraction: [B, *D].
        t, s: [B] float64.
    """
    beta, lower = process.step_variance(t, s), process.posterior_variance(t, s)
    before = process.posterior_variance((2 * t - s).clamp(max=1), t)
    lower = torch.where(lower > 0, lower, torch.where(before > 0, before, beta))
    return fraction * per_sample(beta.log(), fraction) + (1 - fraction) * per_sample(lower.log(), fraction)


@dataclass(frozen=True)
class LearnedVariancePrediction(GaussianPrediction):
    """A prediction with the variance of the step back.

    Args:
        fraction: [B, *D] where log variance lies between that of β̃ (0) and that of β (1); it may lie outside.
    """

    fraction: Tensor

    def log_variance(self, process: Gaussian, t: Tensor, s: Tensor) -> Tensor:
        """Return the logarithm of the variance [B, *D] of the step back from t to s, both [B]."""
        return log_variance_between(process, self.fraction, t, s)


class LearnedVariance(Regression):
    """The first half of the raw output's channels is that of another parameterization, the second the variance.

    A value v of the second half stands for the fraction (v + 1)/2, which is not clipped.

    Args:
        process: a Gaussian process.
        mean: the other parameterization, such as `Eps`.
    """

    process: Gaussian
    outputs_per_channel = 2

    def __init__(self, process: Gaussian, mean: Regression) -> None:
        super().__init__(process)
        self.mean = mean
        self.divides_by_alpha = mean.divides_by_alpha

    def network_input(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean.network_input(z_t, t)

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> LearnedVariancePrediction:
        mean, variance = raw.chunk(2, dim=1)
        of_mean = self.mean.prediction(mean, z_t, t)
        assert isinstance(of_mean, GaussianPrediction)
        return LearnedVariancePrediction(
            z_t, of_mean.alpha, of_mean.sigma, of_mean.given, of_mean.kind, (variance + 1) / 2
        )

    def target(self, noised: Noised) -> Tensor:
        """Return the target [B, *D] of the first half."""
        return self.mean.target(noised)

    def data_error(self, t: Tensor) -> Tensor:
        return self.mean.data_error(t)
