"""Dynamic thresholding (Saharia et al. 2022, Imagen, section 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.codecs import Codec
from diffusion_lab.processes import Prediction
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform


class DynamicThreshold(DenoiserTransform):
    """Clips x0 to ±s and scales it to the range ±r of the codec, where s = max(quantile of |x0|, r) for each sample.

    Codes that have no range are left alone.

    Args:
        codec: says the range, which must lie symmetrically around 0.
        quantile: the share of a sample's values that is not clipped, above 0 and at most 1.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, codec: Codec, quantile: float = 0.995) -> None:
        if not 0 < quantile <= 1:
            raise ValueError(f"clip.quantile must be above 0 and at most 1, got {quantile}")
        if codec.value_range is not None and codec.value_range[0] != -codec.value_range[1]:
            raise ValueError(f"clip=dynamic needs codes with a range around 0, and this codec's is {codec.value_range}")
        self.range = codec.value_range
        self.clips = self.range is not None
        self.quantile = quantile

    def __call__(self, denoiser: DenoiserFn, constraint: Constraint | None = None) -> DenoiserFn:
        if self.range is None:
            return denoiser
        high = self.range[1]

        def thresholded(z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
            prediction: Prediction = denoiser(z_t, t, condition)
            x0 = prediction.x0
            size = torch.quantile(x0.flatten(1).abs(), self.quantile, dim=1).clamp(min=high)
            size = size.reshape(-1, *(1,) * (x0.ndim - 1))
            return prediction.with_x0(x0.clamp(-size, size) * (high / size))

        return thresholded
