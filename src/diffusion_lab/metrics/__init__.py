"""How good samples are. Knows nothing about diffusion.

An entry of the config group `evaluation` is a callable of (samples, training split, held-out split), where samples are
[N, C, H, W] float32 in [−1, 1] and a split is a pair (images like them, labels [M] int64). Its result has `as_dict()`,
which metrics.json holds under the entry's name, and `summary()`, one line for people.
"""

from diffusion_lab.metrics.recognition import Recognition, RecognitionResult

__all__ = ["Recognition", "RecognitionResult"]
