"""Predicted codes are moved to the nearest embedding at each step (Li et al. 2022, Diffusion-LM, section 4.2)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.codecs import TokenEmbedding
from diffusion_lab.processes import Prediction
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform


class NearestEmbedding(DenoiserTransform):
    """The clamping trick: x0 becomes the vector of the nearest token at each position.

    Args:
        codec: has the vectors.
    """

    clips = True

    def __init__(self, codec: TokenEmbedding) -> None:
        self.codec = codec

    def __call__(self, denoiser: DenoiserFn, constraint: Constraint | None = None) -> DenoiserFn:
        def clamped(z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
            prediction: Prediction = denoiser(z_t, t, condition)
            x0 = prediction.x0
            return prediction.with_x0(self.codec.encode(self.codec.decode(x0)).to(x0))

        return clamped
