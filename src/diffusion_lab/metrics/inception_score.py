"""Inception score: how sure a classifier is of each sample, and how many classes it sees (Salimans et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffusion_lab.metrics.feature_sets import GivenFeatures, check_set, seeded_draws

#: The usual number of splits of the samples.
SPLITS = 10


@dataclass(frozen=True)
class InceptionScore:
    """exp(E KL(p(y|x) ‖ p(y))), from 1 to the number of classes K.

    Attributes:
        value: the mean over splits of the samples.
        spread: the standard deviation over splits.
    """

    value: float
    spread: float


def inception_score(logits: Tensor, seed: int = 0, splits: int = SPLITS) -> InceptionScore:
    """Return the Inception score of samples, with any classifier's logits in the place of Inception's.

    A split of n samples shows at most n classes, so that the score depends on the number of samples.

    Args:
        logits: [N, K] floating point, not probabilities; N at least twice `splits`. If `splits` does not divide N, the
            last N mod `splits` samples are left out, so that all splits are of one size.
        seed: of the choice of splits; torch's global generator stays as it was.
        splits: how many; at least 2.

    Raises:
        ValueError: if there are too few logits, if they are not finite, or for fewer than 2 splits.
    """
    from torchmetrics.image.inception import InceptionScore as Metric

    if splits < 2:
        raise ValueError(f"splits must be at least 2, got {splits}")
    check_set("generated", logits, 2 * splits, f"the Inception score with {splits} splits", "logits")
    used = logits[: len(logits) - len(logits) % splits]
    # A class whose probability underflows to zero in all samples of a split would make the score NaN.
    log_probabilities = used.cpu().double().log_softmax(1).clamp(min=-700)
    with seeded_draws(seed):
        metric = Metric(GivenFeatures(logits.shape[1]), splits, sync_on_compute=False)
        metric.update(log_probabilities)
        mean, spread = map(float, metric.compute())
    return InceptionScore(mean, spread)
