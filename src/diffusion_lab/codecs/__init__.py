"""Data to the space that is diffused, and back."""

from diffusion_lab.codecs.base import Codec
from diffusion_lab.codecs.pixels import Pixels

__all__ = ["Codec", "Pixels"]
