"""How good a trained model is. Knows nothing about diffusion.

An entry of the config group `evaluation` is an `Evaluation`: from the model, its samples and the real data to numbers.
Those that need torchmetrics are imported where they are chosen.
"""

from diffusion_lab.metrics.base import Evaluation, Result, Samples, Splits, Subject
from diffusion_lab.metrics.recognition import Recognition, RecognitionResult

__all__ = ["Evaluation", "Recognition", "RecognitionResult", "Result", "Samples", "Splits", "Subject"]
