"""The variational bound (Ho et al. 2020, eq. 5; Nichol & Dhariwal 2021, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from diffusion_lab.codecs import Codec
from diffusion_lab.distributions import Normal
from diffusion_lab.noise import Noise
from diffusion_lab.objectives.base import Objective
from diffusion_lab.parameterizations import (
    Denoiser,
    GaussianPrediction,
    LearnedVariancePrediction,
    Regression,
    log_variance_between,
)
from diffusion_lab.processes import Gaussian, per_sample


def bound_term(
    process: Gaussian,
    codec: Codec,
    z0: Tensor,
    t: Tensor,
    prediction: GaussianPrediction,
    variance: Literal["beta", "beta_tilde"] = "beta",
) -> Tensor:
    """Return the bound's term L_n [B] for the step from t = n/T to (n − 1)/T, in bits per dimension.

    For n > 1 that is KL(q(z_s | z_t, z0) ‖ p(z_s | z_t)); for n = 1 it is −log p(x | z_1), by the codec.

    Args:
        process: of T steps.
        codec: says how probable the data is.
        z0: [B, *D] clean codes.
        t: [B] float64 rows of the process.
        prediction: for the state at t; its own variance is used if it has one.
        variance: of the step back, if the prediction has none.

    Raises:
        ValueError: if the process has no steps.
    """
    if process.schedule.steps is None:
        raise ValueError("the variational bound needs a schedule with steps (schedule.steps)")
    s = t - 1 / process.schedule.steps
    s = torch.where(s.abs() < 1e-9, 0, s)
    first = s <= 0
    mean = process.posterior(prediction.z_t, prediction, t, s).mean
    exact = process.posterior(prediction.z_t, prediction.with_x0(z0), t, s).mean
    if isinstance(prediction, LearnedVariancePrediction):
        fraction = prediction.fraction
    else:
        fraction = torch.full_like(z0, float(variance == "beta"))
    log_variance = log_variance_between(process, fraction, t, s)
    log_lower = per_sample(process.posterior_variance(t, s).clamp(min=1e-300).log(), z0)
    # Each term is computed where it counts alone, so that no derivative that is infinite elsewhere reaches the network.
    x, decoder = codec.decode(z0[first]), Normal(mean[first], (log_variance[first] / 2).exp())
    nats = torch.empty_like(t)
    nats[first] = -codec.log_likelihood(x, decoder).to(nats) / z0[0].numel()
    nats[~first] = _divergence(exact, mean, log_lower.expand_as(mean), log_variance, ~first)
    return nats / math.log(2)


def _divergence(exact: Tensor, mean: Tensor, log_lower: Tensor, log_variance: Tensor, rows: Tensor) -> Tensor:
    """Return KL(N(exact, e^log_lower) ‖ N(mean, e^log_variance)) [rows] float64, the mean over dimensions, in nats."""
    exact, mean, log_lower, log_variance = (x[rows].double() for x in (exact, mean, log_lower, log_variance))
    of_variance = log_variance - log_lower - 1 + (log_lower - log_variance).exp()
    return 0.5 * (of_variance + (mean - exact).square() * (-log_variance).exp()).flatten(1).mean(1)


class VariationalBound(Objective):
    """T times the term of the bound at a random step: an unbiased estimate of the bound without that of the prior.

    Its terms differ by orders of magnitude: time_sampling=importance was made for it.

    Args:
        process: a Gaussian process of T steps.
        parameterization: any regression; a learned variance is trained, too.
        codec: says how probable the data is.
        variance: of the step back, if it is not learned: ``beta`` or ``beta_tilde``.

    Raises:
        ValueError: if the process has no steps.
    """

    units: ClassVar[Mapping[str, str]] = {"loss": "bits per dimension"}
    needs_uniform_times = True

    def __init__(
        self,
        process: Gaussian,
        parameterization: Regression,
        codec: Codec,
        variance: Literal["beta", "beta_tilde"] = "beta",
    ) -> None:
        self.steps = steps_of(process)
        self.process = process
        self.codec = codec
        self.variance: Literal["beta", "beta_tilde"] = variance

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, t: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        noised = self.process.sample(z0, t, noise.at("noise"))
        prediction = denoiser(noised.z_t, t, condition)
        assert isinstance(prediction, GaussianPrediction)
        bits = bound_term(self.process, self.codec, z0, t, prediction, self.variance)
        return {"loss": self.steps * bits.float()}


def steps_of(process: Gaussian) -> int:
    """Return T; ValueError, naming the key, if the process has no steps."""
    if process.schedule.steps is None:
        raise ValueError("objective=vlb and objective=hybrid need a schedule of T steps: schedule.steps=1000")
    return process.schedule.steps
