"""UniPC, a predictor and corrector of any order (Zhao et al. 2023, algorithms 1–3 for predicted data)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.sampling.multistep import recalled, remembered

HIGHEST_ORDER = 3


class UniPC(GaussianSampler):
    """A multistep solver in lambda = log(alpha/sigma); each prediction also corrects the state it was made at.

    The corrector needs no evaluation of its own: one evaluation of the network for each step. The order rises over the
    first steps; a step from or to an infinite lambda is one of first order.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps.
        num_steps: how many steps.
        order: of the predictor, 1 to 3; that of the corrector is one higher.
        scale: B(h) of the paper: ``bh1`` for h, ``bh2`` for e^h − 1.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    reversible = True

    def __init__(
        self,
        process: Gaussian,
        grid: TimeGrid,
        num_steps: int = 10,
        order: int = 3,
        scale: Literal["bh1", "bh2"] = "bh2",
    ) -> None:
        super().__init__(process, grid, num_steps)
        if not 1 <= order <= HIGHEST_ORDER:
            raise ValueError(f"sampler.order must lie between 1 and {HIGHEST_ORDER}, got {order}")
        self.order = order
        self.scale = scale

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        x0, past = denoiser(state.z, t).x0, state.history
        z = state.z if "z" not in past else self._moved(past["z"], past["t"], t, recalled(past), x0)
        if not bool(self.half_log_snr(t).isfinite().all()):
            return State(self._moved(z, t, s, [(t, x0)], None))  # from pure noise: nothing to remember
        known = [(t, x0), *recalled(past)][: self.order]
        after = self._moved(z, t, s, known, None)
        return State(after, {"z": z, "t": t, **remembered(known)})

    def _moved(
        self, z: Tensor, t: Tensor, s: Tensor, known: list[tuple[Tensor, Tensor]], there: Tensor | None
    ) -> Tensor:
        """Return the state at s from z [B, *D] at t.

        Args:
            z: the state at t.
            t, s: [B] float64.
            known: times and predicted data, that of t first.
            there: the data predicted at s, for the corrector; None for the predictor.
        """
        of_z, of_x0 = self.to_data(t, s)
        x0 = known[0][1]
        after = per_sample(of_z, z) * z + per_sample(of_x0, z) * x0
        h = self.half_log_snr(s) - self.half_log_snr(t)
        if not bool(h.isfinite().all()):
            return after
        others = [((self.half_log_snr(time) - self.half_log_snr(t)) / h, data) for time, data in known[1:]]
        if there is not None:
            others.append((torch.ones_like(h), there))
        if not others:
            return after
        ratios = torch.stack([ratio for ratio, _ in others])  # [p, B]
        weights = self._weights(ratios, h)
        step = self.process.schedule.alpha(s) * self._scale(h)
        for weight, ratio, (_, data) in zip(weights, ratios, others, strict=True):
            after = after - per_sample(step * weight / ratio, z) * (data - x0)
        return after

    def _weights(self, ratios: Tensor, h: Tensor) -> Tensor:
        """Return rho [p, B]: the solution of sum_k rho_k r_k^(i − 1) = i! phi_(i+1)(−h) / B(h) for i = 1..p."""
        if len(ratios) == 1:
            return torch.full_like(ratios, 0.5)  # as the paper sets it: of second order for any B(h)
        powers, right, phi = [], [], torch.expm1(-h)
        for i in range(1, len(ratios) + 1):
            phi = phi / -h - 1 / math.factorial(i)
            powers.append(ratios ** (i - 1))
            right.append(phi * math.factorial(i) / self._scale(h))
        matrix = torch.stack(powers).permute(2, 0, 1)  # [B, i, k]
        return torch.linalg.solve(matrix, torch.stack(right, 1)).T

    def _scale(self, h: Tensor) -> Tensor:
        return -h if self.scale == "bh1" else torch.expm1(-h)
