"""iPNDM, the improved pseudo numerical method (Zhang & Chen 2022, DEIS, appendix; Liu et al. 2022, PNDM)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid

#: Coefficients of Adams and Bashforth for the last slopes, the newest first, by their number.
_ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class IPNDM(GaussianSampler):
    """Adams and Bashforth's method for d(z/alpha)/dr = eps with r = sigma/alpha, of an order that rises to `order`.

    Its coefficients are those of even steps, whatever the grid is; the slopes are the predicted noise of the last
    steps. One evaluation of the network for each step. It is strong below ten steps.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps.
        num_steps: how many steps.
        order: how many slopes are used at most, from 1 (DDIM) to 4.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 10, order: int = 4) -> None:
        super().__init__(process, grid, num_steps)
        if not 1 <= order <= len(_ADAMS_BASHFORTH):
            raise ValueError(f"sampler.order must lie between 1 and {len(_ADAMS_BASHFORTH)}, got {order}")
        self.order = order

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z = state.z
        prediction = denoiser(z, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.levels(t), self.levels(s)
        if not bool((alpha_t > 0).all()):  # z/alpha is infinite: a step of DDIM, whose slope is not remembered
            return State(per_sample(alpha_s, z) * prediction.x0 + per_sample(sigma_s, z) * prediction.eps)
        slopes = [prediction.eps, *state.history.values()][: self.order]
        slope = sum(c * d for c, d in zip(_ADAMS_BASHFORTH[len(slopes) - 1], slopes, strict=True))
        ratio = alpha_s / alpha_t
        after = per_sample(ratio, z) * z + per_sample(sigma_s - sigma_t * ratio, z) * slope
        return State(after, {f"eps_{age}": slope for age, slope in enumerate(slopes[: self.order - 1])})
