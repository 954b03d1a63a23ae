"""tAB-DEIS, a multistep exponential integrator (Zhang & Chen 2023, eq. 14–15 and algorithm 1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.sampling.multistep import recalled, remembered

HIGHEST_ORDER = 3

#: Points of the Gauss–Legendre rule in each panel, and the panels of a step where time is continuous.
_POINTS, _PANELS = 16, 8


class DEIS(GaussianSampler):
    """z_s/alpha_s = z_t/alpha_t + ∫ eps dr, with r = sigma/alpha and a polynomial in t through the last predicted eps.

    Dividing by alpha solves the linear part of the probability-flow ODE exactly, and the polynomial is integrated to
    rounding, under the schedule and at the times in use. The polynomial is in the schedule's own t, which is linear in
    log r for schedule=edm; one in r is sampler=ipndm. The solver is deterministic, and evaluates the network once for
    each step.

    The order rises over the first steps; what they leave behind falls with order 2. A step that begins where no signal
    is left, with a log-SNR of −∞ or nearly so, is one of DDIM and is not remembered (see `has_signal`). A log-SNR of
    +∞, at clean data, needs no exception.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps.
        num_steps: how many steps.
        order: how many predictions are used at most, from 1 (DDIM) to 3: one more than the paper's degree of the
            polynomial.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    reversible = True

    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 10, order: int = 3) -> None:
        super().__init__(process, grid, num_steps)
        if not 1 <= order <= HIGHEST_ORDER:
            raise ValueError(f"sampler.order must lie between 1 and {HIGHEST_ORDER}, got {order}")
        self.order = order
        self._points, self._shares = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(_POINTS))

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z = state.z
        prediction = denoiser(z, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.levels(t), self.levels(s)
        if not self.has_signal(torch.maximum(t, s)):
            return State(per_sample(alpha_s, z) * prediction.x0 + per_sample(sigma_s, z) * prediction.eps)
        known = [(t, prediction.eps), *recalled(state.history)][: self.order]
        times = torch.stack([time for time, _ in known])
        slope = torch.zeros_like(z)
        for weight, (_, before) in zip(self._weights(s, times), known, strict=True):
            slope = slope + per_sample(weight, z) * before
        ratio = alpha_s / alpha_t
        after = per_sample(ratio, z) * z + per_sample(sigma_s - sigma_t * ratio, z) * slope
        return State(after, remembered(known[: self.order - 1]))

    def _weights(self, s: Tensor, times: Tensor) -> Tensor:
        """Return the weights [n, B] of the slopes at `times` [n, B], the newest first, for the step to s [B].

        They are the means of Lagrange's polynomials over the step's range of r, and sum to 1.
        """
        if len(times) == 1:
            return torch.ones_like(times)
        # The samples of a batch mostly go together.
        (s, *known), batch = torch.unique(torch.cat([s[None], times]), dim=1, return_inverse=True)
        r = self._level(self._edges(known[0], s))  # [U, panels + 1]
        middle, half = (r[:, 1:] + r[:, :-1]) / 2, (r[:, 1:] - r[:, :-1]) / 2
        points, shares = self._points.to(r), self._shares.to(r)
        inside = middle[..., None] + half[..., None] * points  # [U, panels, points]
        at = self.process.schedule.time(-2 * inside.log())
        weights = []
        for j, one in enumerate(known):
            polynomial = torch.ones_like(at)
            for other in (*known[:j], *known[j + 1 :]):
                polynomial = polynomial * (at - other[:, None, None]) / (one - other)[:, None, None]
            weights.append((half * (polynomial @ shares)).sum(1) / (r[:, -1] - r[:, 0]))
        return torch.stack(weights)[:, batch]

    def _edges(self, t: Tensor, s: Tensor) -> Tensor:
        """Return rising times [U, panels + 1] from the one to the other of t and s [U].

        Where there are T steps, they are the rows between, at which the slope of the log-SNR changes.
        """
        low, high = (end[:, None] for end in (torch.minimum(t, s), torch.maximum(t, s)))
        steps = self.process.schedule.steps
        if steps is None:
            return low + (high - low) * torch.linspace(0, 1, _PANELS + 1, dtype=low.dtype, device=low.device)
        rows = torch.arange(int(((high - low).max() * steps).ceil()) + 2, dtype=low.dtype, device=low.device)
        return (((low * steps + 1e-9).floor() + rows) / steps).clamp(low, high)

    def _level(self, t: Tensor) -> Tensor:
        """Return r = sigma/alpha at times t."""
        alpha, sigma = self.levels(t)
        return sigma / alpha
