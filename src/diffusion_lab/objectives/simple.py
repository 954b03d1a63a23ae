"""The simple objective of DDPM (Ho et al. 2020, eq. 14)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.processes import Gaussian


class Simple:
    """The squared error of the network's raw output against its target, unweighted.

    Args:
        process: what noises the data.
        times: rows of noise → times [B].
    """

    def __init__(self, process: Gaussian, times: Callable[[Noise], Tensor]) -> None:
        self.process = process
        self.times = times

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Per-sample terms.

        Args:
            denoiser: the model.
            z0: [B, *D] data in the space that is diffused.
            noise: one row per sample.
            condition: [B] labels, or None.

        Returns:
            ``loss`` [B] float32: the mean squared error over the sample's dimensions, in the units of the
            target squared; ``t`` [B] float64: the times it was taken at.
        """
        t = self.times(noise.at("time"))
        noised = self.process.sample(z0, t, noise.at("noise"))
        error = denoiser.raw(noised.z_t, t, condition).float() - denoiser.parameterization.target(noised).float()
        return {"loss": error.square().flatten(1).mean(1), "t": t}
