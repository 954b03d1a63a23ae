"""Data to the space that is diffused, and back."""

from diffusion_lab.codecs.base import Codec
from diffusion_lab.codecs.embedding import TokenEmbedding
from diffusion_lab.codecs.pixel_tokens import PixelTokens
from diffusion_lab.codecs.pixels import Pixels
from diffusion_lab.codecs.tokens import Tokens

__all__ = ["Codec", "PixelTokens", "Pixels", "TokenEmbedding", "Tokens"]
