"""How good samples are. Knows nothing about diffusion."""

from diffusion_lab.metrics.recognition import Recognition, RecognitionResult

__all__ = ["Recognition", "RecognitionResult"]
