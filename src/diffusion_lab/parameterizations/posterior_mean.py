"""Prediction of the posterior's mean (Ho et al. 2020, section 3.2 and table 2; Nichol & Dhariwal 2021, PREVIOUS_X)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, GaussianNoised, Noised, per_sample


class PosteriorMean(Regression):
    """The network sees the state as it is, and predicts the mean a x0 + b z_t of q(z_s | z_t, x0), with s = t − 1/T.

    a = alpha_s σ²_{t|s} / sigma_t² and b = alpha_t sigma_s² / (alpha_s sigma_t²), those of DDPM's eq. 7 on the grid
    n/T, which hold between its rows, too. For the first step, to s = 0, and at earlier times the mean is the data.

    With many steps the mean hardly differs from the state: where there is much noise, a is about alpha β, down to 1e-4.
    So the unweighted error of objective=simple hardly sees the data there: Ho et al. found it unstable, and the mean as
    good as the noise with objective=vlb, which divides the error by the variance of the step. An error of the output is
    divided by a in the predicted data; that of rounding to bfloat16 is then above 10. Ancestral sampling in all T steps
    without clipping takes the predicted mean as it is; clipping, fewer steps and other samplers use the data, and so
    need float32.

    Args:
        process: a Gaussian process of T steps. No signal need be left at t = 1.

    Raises:
        ValueError: if time is continuous, where there is no step before.
    """

    process: Gaussian
    divides_by_alpha = True

    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)
        if process.schedule.steps is None:
            raise ValueError(
                "parameterization=posterior_mean needs a schedule of T steps, such as schedule=linear, and "
                f"{type(process.schedule).__name__} is in continuous time: take parameterization=x0 or v"
            )
        self.steps: int = process.schedule.steps

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> GaussianPrediction:
        of_x0, whole, part = (per_sample(coefficient, z_t) for coefficient in self._coefficients(t))
        x0 = ((raw - whole * z_t) - part * z_t) / of_x0
        return GaussianPrediction.of(self.process, z_t, t, x0, "x0")

    def data_error(self, t: Tensor) -> Tensor:
        return self._coefficients(t)[0] ** -2

    def target(self, noised: Noised) -> Tensor:
        assert isinstance(noised, GaussianNoised)
        z0, z_t = noised.z0, noised.z_t
        of_x0, whole, part = (per_sample(coefficient, z_t) for coefficient in self._coefficients(noised.t))
        return whole * z_t + (part * z_t + of_x0 * z0)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a, the whole number next to b, 0 or 1, and what is left of b, all [B] float64.

        The mean is close to the state where b is close to 1: their difference is exact in any dtype, and b z_t, which
        would be rounded before it is subtracted, cancels digits.
        """
        schedule, s = self.process.schedule, (t - 1 / self.steps).clamp(min=0)
        alpha_s, sigma_s, sigma_t = schedule.alpha(s), schedule.sigma(s), schedule.sigma(t)
        of_x0 = alpha_s * self.process.step_variance(t, s) / sigma_t**2
        of_z = schedule.alpha(t) / alpha_s * (sigma_s / sigma_t) ** 2
        to_data = t * self.steps < 1 + 1e-9  # at t = 0 both are 0/0
        of_x0, of_z = torch.where(to_data, 1, of_x0), torch.where(to_data, 0, of_z)
        return of_x0, of_z.round(), of_z - of_z.round()
