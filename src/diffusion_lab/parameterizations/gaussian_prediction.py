"""A prediction for the Gaussian process, in whichever form is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import torch
from torch import Tensor

from diffusion_lab.processes import Gaussian, Prediction, per_sample


@dataclass(frozen=True)
class GaussianPrediction(Prediction):
    """The data x0, the noise eps, the velocity v and the score of a state z_t = alpha x0 + sigma eps, all [B, *D].

    One of them was predicted; each of the others follows from it when it is asked for: v = alpha eps − sigma x0
    (Salimans & Ho 2022; the velocity eps − x0 of a flow is another), score = −eps / sigma (undefined at sigma = 0).
    A subclass adds whatever else a network predicts as a field.

    Args:
        z_t: [B, *D] the state.
        alpha, sigma: the coefficients of its time, which broadcast to z_t.
        given: [B, *D] what was predicted.
        kind: which of the forms `given` is.
    """

    z_t: Tensor
    alpha: Tensor
    sigma: Tensor
    given: Tensor
    kind: Literal["x0", "eps", "v"]

    @classmethod
    def of(
        cls, process: Gaussian, z_t: Tensor, t: Tensor, given: Tensor, kind: Literal["x0", "eps", "v"], **more: Tensor
    ) -> Self:
        """Return the prediction `given` for the state z_t at times t [B]; `more` are the fields of a subclass."""
        alpha, sigma = process.schedule.alpha(t), process.schedule.sigma(t)
        return cls(z_t, per_sample(alpha, z_t), per_sample(sigma, z_t), given, kind, **more)

    @cached_property
    def x0(self) -> Tensor:
        if self.kind == "x0":
            return self.given
        if self.kind == "eps":
            return (self.z_t - self.sigma * self.given) / self.alpha
        return (self.alpha * self.z_t - self.sigma * self.given) / (self.alpha**2 + self.sigma**2)

    @cached_property
    def eps(self) -> Tensor:
        if self.kind == "eps":
            return self.given
        if self.kind == "x0":
            # Without noise there is none to predict; with other data than that of z_t it would be infinite.
            return torch.where(self.sigma > 0, (self.z_t - self.alpha * self.given) / self.sigma, 0)
        return (self.sigma * self.z_t + self.alpha * self.given) / (self.alpha**2 + self.sigma**2)

    @property
    def v(self) -> Tensor:
        return self.given if self.kind == "v" else self.alpha * self.eps - self.sigma * self.x0

    @property
    def score(self) -> Tensor:
        return -self.eps / self.sigma

    def with_x0(self, x0: Tensor) -> Self:
        return replace(self, given=x0, kind="x0")
