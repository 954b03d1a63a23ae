"""Predicted data is clipped to the range of the codes at each step."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.codecs import Codec
from diffusion_lab.processes import Prediction
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform


class ClipX0(DenoiserTransform):
    """Clips x0 to the range of the codec; the noise is then derived from the clipped data.

    Codes that have no range are left alone.

    Args:
        codec: says the range.
    """

    def __init__(self, codec: Codec) -> None:
        self.range = codec.value_range
        self.clips = self.range is not None

    def __call__(self, denoiser: DenoiserFn, constraint: Constraint | None = None) -> DenoiserFn:
        if self.range is None:
            return denoiser
        low, high = self.range

        def clipped(z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
            prediction: Prediction = denoiser(z_t, t, condition)
            return prediction.with_x0(prediction.x0.clamp(low, high))

        return clipped
