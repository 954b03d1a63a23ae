"""Backbones. They know nothing about diffusion: (x, c_noise, labels or None) → raw."""

from diffusion_lab.networks.simple_unet import SimpleUNet

__all__ = ["SimpleUNet"]
