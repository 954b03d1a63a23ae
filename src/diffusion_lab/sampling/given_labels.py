"""Labels that are given for samples, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_lab.errors import LabError


def checked_labels(given: Tensor | Sequence[int], num_samples: int, num_classes: int) -> Tensor:
    """Return the labels [num_samples] of samples.

    Raises:
        LabError: if it is not one whole number from 0 to `num_classes` − 1 for each sample.
    """
    labels = torch.as_tensor(given)
    if labels.shape != (num_samples,):
        raise LabError(f"{num_samples} samples need as many labels, got the shape {list(labels.shape)}")
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    if num_samples and not (whole and bool(((labels >= 0) & (labels < num_classes)).all())):
        raise LabError(f"a label is a whole number from 0 to {num_classes - 1}, got {labels.unique().tolist()}")
    return labels
