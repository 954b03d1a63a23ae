"""How good a trained model is. Knows nothing about diffusion.

An entry of the config group `evaluation` is an `Evaluation`: from the model, its samples and the real data to numbers.
"""

from diffusion_lab.metrics.base import Evaluation, Result, Samples, Splits, Subject
from diffusion_lab.metrics.quality import Measures, QualityResult, Reference, floor
from diffusion_lab.metrics.recognition import Recognition, RecognitionResult

__all__ = [
    "Evaluation", "Measures", "QualityResult", "Recognition", "RecognitionResult", "Reference", "Result", "Samples",
    "Splits", "Subject", "floor",
]  # fmt: skip
