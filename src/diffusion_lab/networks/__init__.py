"""Backbones. They know nothing about diffusion: (x, c_noise, condition or None) → raw."""

from diffusion_lab.networks.base import LabelledNetwork, Network
from diffusion_lab.networks.dit import DiT
from diffusion_lab.networks.simple_unet import SimpleUNet
from diffusion_lab.networks.text_transformer import TextTransformer
from diffusion_lab.networks.unet import UNet

__all__ = ["DiT", "LabelledNetwork", "Network", "SimpleUNet", "TextTransformer", "UNet"]
