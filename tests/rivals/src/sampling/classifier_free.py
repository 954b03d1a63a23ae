"""Classifier-free guidance (Ho & Salimans 2022); scale 1 is plain conditional."""

import torch

from diffusion_lab.sampling.base import DenoiserTransform


class ClassifierFree(DenoiserTransform):
    def __init__(self, num_classes: int, scale: float = 2.0) -> None:
        self.null, self.scale = num_classes, scale

    def __call__(self, denoiser):
        def guided(z_t, t, condition=None):
            conditional = denoiser(z_t, t, condition)
            plain = denoiser(z_t, t, torch.full_like(condition, self.null))
            return conditional.with_x0(plain.x0 + self.scale * (conditional.x0 - plain.x0))

        return guided
