"""Guidance away from one label: a negative prompt (Liu et al. 2022, composable diffusion)."""

import torch

from diffusion_lab.sampling.base import DenoiserTransform


class NegativeLabel(DenoiserTransform):
    def __init__(self, num_classes: int, label: int = 0, scale: float = 2.0) -> None:
        self.label, self.scale = label, scale

    def __call__(self, denoiser, constraint=None):
        def guided(z_t, t, condition=None):
            wanted = denoiser(z_t, t, condition)
            unwanted = denoiser(z_t, t, torch.full_like(condition, self.label))
            return wanted.with_x0(unwanted.x0 + self.scale * (wanted.x0 - unwanted.x0))

        return guided
