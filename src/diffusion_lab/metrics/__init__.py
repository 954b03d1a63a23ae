"""How good samples are. Knows nothing about diffusion.

Each option of the config group `evaluation` is an `Evaluation` (see `diffusion_lab.evaluation`). Those that need
torchmetrics are imported where they are chosen.
"""

from diffusion_lab.metrics.recognition import Recognition, RecognitionResult

__all__ = ["Recognition", "RecognitionResult"]
