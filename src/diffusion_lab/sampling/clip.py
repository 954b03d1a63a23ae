"""Transforms of the prediction: denoiser → denoiser. Guidance comes first, clipping after it."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.parameterizations.base import Prediction, X0Prediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.processes.gaussian import per_sample
from diffusion_lab.sampling.base import DenoiserFn


class ClippedDenoiser:
    """Clips the predicted data to [low, high]; the noise is derived anew from the clipped data.

    Args:
        denoiser: what predicts.
        process: supplies alpha and sigma.
        low, high: the range of the data.
    """

    def __init__(self, denoiser: DenoiserFn, process: Gaussian, low: float = -1.0, high: float = 1.0) -> None:
        self.denoiser = denoiser
        self.process = process
        self.low, self.high = low, high

    def __call__(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        x0 = self.denoiser(z_t, t, condition).x0.clamp(self.low, self.high)
        schedule = self.process.schedule
        return X0Prediction(z_t, per_sample(schedule.alpha(t), z_t), per_sample(schedule.sigma(t), z_t), x0)
