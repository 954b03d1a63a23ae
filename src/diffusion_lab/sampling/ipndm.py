"""iPNDM, the improved pseudo numerical method (Zhang & Chen 2022, DEIS, appendix; Liu et al. 2022, PNDM)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.sampling.multistep import recalled, remembered

#: Coefficients of Adams and Bashforth for the last slopes, the newest first, by their number.
_ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class IPNDM(GaussianSampler):
    """Adams and Bashforth's method for d(z/alpha)/dr = eps with r = sigma/alpha, of an order that rises to `order`.

    The slopes are the predicted noise of the last steps. One evaluation of the network for each step. It is strong
    below ten steps. Upwards, where steps in sigma/alpha lengthen and extrapolation over them fails, it is the mirror
    image: d(z/sigma)/dr = x0 with r = alpha/sigma.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps.
        num_steps: how many steps.
        order: how many slopes are used at most, from 1 (DDIM) to 4.
        variable_step: use the coefficients of the steps' true lengths (iPNDM_v). False: those of even steps, as
            published; they leave noise behind under a schedule that begins at a sigma/alpha of tens of thousands, as
            the cosine schedule does.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    reversible = True

    def __init__(
        self, process: Gaussian, grid: TimeGrid, num_steps: int = 10, order: int = 4, variable_step: bool = True
    ) -> None:
        super().__init__(process, grid, num_steps)
        if not 1 <= order <= len(_ADAMS_BASHFORTH):
            raise ValueError(f"sampler.order must lie between 1 and {len(_ADAMS_BASHFORTH)}, got {order}")
        self.order = order
        self.variable_step = variable_step

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z = state.z
        prediction = denoiser(z, t)
        here, there, slope = self.levels(t), self.levels(s), prediction.eps
        if not self.has_signal(t):  # a step of DDIM, whose slope is not remembered
            return State(per_sample(there[0], z) * prediction.x0 + per_sample(there[1], z) * slope)
        if bool((s > t).all()):
            here, there, slope = here[::-1], there[::-1], prediction.x0
        (scale_t, other_t), (scale_s, other_s) = here, there
        known = [(other_t / scale_t, slope), *recalled(state.history)][: self.order]
        levels = torch.stack([level for level, _ in known])
        mean = torch.zeros_like(z)
        for weight, (_, before) in zip(self._weights(levels, other_s / scale_s), known, strict=True):
            mean = mean + per_sample(weight, z) * before
        ratio = scale_s / scale_t
        after = per_sample(ratio, z) * z + per_sample(other_s - other_t * ratio, z) * mean
        return State(after, remembered(known[: self.order - 1]))

    def _weights(self, levels: Tensor, end: Tensor) -> Tensor:
        """Return the weights [n, B] of the slopes at `levels` [n, B], the newest first, for the step to `end` [B]."""
        count = len(levels)
        if not self.variable_step:
            return torch.tensor(_ADAMS_BASHFORTH[count - 1], dtype=levels.dtype)[:, None].expand_as(levels).to(levels)
        # The mean over the step of the polynomial through the slopes; the step is from x = 0 to 1.
        x = ((levels - levels[0]) / (end - levels[0])).T  # [B, n]
        powers = torch.stack([x**j for j in range(count)], dim=1)  # [B, j, n]
        means = 1 / torch.arange(1, count + 1, dtype=x.dtype, device=x.device)
        return torch.linalg.solve(powers, means.expand(len(x), -1)).T
