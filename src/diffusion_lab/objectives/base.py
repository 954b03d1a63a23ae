"""The seam that every objective fills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser


class Objective(ABC):
    """The function that training minimizes.

    Attributes:
        units: the unit of each term, by its name, for logs and figures.
        needs_uniform_times: whether it is a mean over uniform times by its nature, so that times of any other
            distribution must come with weights that make it one (`TimeSampler.uniform`).
        trains_codec: whether it keeps codes of different data apart, so that a codec may learn from it. Any other error
            of predicted codes is least where all codes are alike.
        by_blocks: whether it trains networks that see blocks (`Network.block_size`) as well.
    """

    units: ClassVar[Mapping[str, str]]
    needs_uniform_times: ClassVar[bool] = False
    trains_codec: ClassVar[bool] = False
    by_blocks: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self, denoiser: Denoiser, z0: Tensor, t: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return per-sample terms.

        Args:
            denoiser: the model.
            z0: [B, *D] data in the space that is diffused.
            t: [B] float64 times, of the run's time sampling.
            noise: one row for each sample.
            condition: [B, …] what each sample is of, such as its label; None without one.

        Returns:
            ``loss`` [B] float32, which is minimized, and any other terms [B], each of which is logged by its name.
        """


def squared_error(raw: Tensor, target: Tensor) -> Tensor:
    """Return the squared error [B, *D] float32 of the network's raw output against its target, both [B, *D].

    Raises:
        LabError: if their shapes differ, which PyTorch might broadcast without a word.
    """
    if raw.shape != target.shape:
        raise LabError(
            f"the network's raw output has the shape {list(raw.shape)} and the target of the parameterization "
            f"{list(target.shape)}: this objective needs one output for each input (network, parameterization and "
            "objective do not go together)"
        )
    return (raw.float() - target.float()).square()
