"""Do samples show the classes that real items do, as often? By what a classifier predicts of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.metrics.feature_sets import check_set


@dataclass(frozen=True)
class ClassBalance:
    """The distribution of predicted classes of samples, against that of real items.

    Attributes:
        total_variation: half the sum of the absolute differences, from 0, the same, to 1, no class in common.
        entropy: of the samples' classes, in nats: 0 for one class, ln K for K classes alike.
        missing: how many classes real items show, and no sample does.
    """

    total_variation: float
    entropy: float
    missing: int


def class_balance(real: Tensor, generated: Tensor) -> ClassBalance:
    """Compare the classes that one classifier predicts of real and of generated items.

    Predictions of both are compared, not the true classes of the real items: what the classifier mistakes, it mistakes
    in both.

    Args:
        real: [N, K] floating point, logits, N at least 1.
        generated: [M, K], M at least 1.

    Raises:
        ValueError: if a set is empty or not finite, or if the numbers of classes differ.
    """
    for name, scores in (("real", real), ("generated", generated)):
        check_set(name, scores, 1, "class balance", "logits")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real and generated items must have the same classes, got {real.shape[1]} and {generated.shape[1]}"
        )
    classes = real.shape[1]
    of_real, of_generated = (torch.bincount(scores.cpu().argmax(1), minlength=classes) for scores in (real, generated))
    p, q = of_real.double() / len(real), of_generated.double() / len(generated)
    return ClassBalance(
        total_variation=float((p - q).abs().sum()) / 2,
        entropy=float(torch.special.entr(q).sum()),
        missing=int(((of_real > 0) & (of_generated == 0)).sum()),
    )
