"""All measures of the quality of samples together, and the same of real items."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from diffusion_lab.metrics.class_balance import ClassBalance, class_balance
from diffusion_lab.metrics.feature_sets import check_real, check_set
from diffusion_lab.metrics.frechet_distance import frechet_distance
from diffusion_lab.metrics.inception_score import SPLITS, InceptionScore, inception_score
from diffusion_lab.metrics.kernel_distance import FEWEST_ITEMS, KernelDistance, kernel_distance
from diffusion_lab.metrics.neighbour_balls import (
    DensityCoverage,
    NeighbourBalls,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from diffusion_lab.noise import derived_seed


@dataclass(frozen=True)
class Measures:
    """The measures of one set of samples.

    Attributes:
        num_samples: how many samples.
        num_real: how many real items they were compared with.
        fid: Fréchet distance.
        kid: kernel distance, and its error.
        precision_recall: with three neighbours.
        density_coverage: with five neighbours.
        inception_score: None without a classifier.
        class_balance: None without a classifier.
    """

    num_samples: int
    num_real: int
    fid: float
    kid: KernelDistance
    precision_recall: PrecisionRecall
    density_coverage: DensityCoverage
    inception_score: InceptionScore | None
    class_balance: ClassBalance | None

    def values(self) -> dict[str, float]:
        """Return each measure by its name."""
        found = {
            "fid": self.fid,
            "kid": self.kid.value,
            **asdict(self.precision_recall),
            **asdict(self.density_coverage),
        }
        if self.inception_score is not None:
            found["inception_score"] = self.inception_score.value
        if self.class_balance is not None:
            found["class_total_variation"] = self.class_balance.total_variation
            found["class_entropy"] = self.class_balance.entropy
            found["missing_classes"] = self.class_balance.missing
        return found


def check_num_samples(num_samples: int, classifier: bool) -> None:
    """Refuse a number of samples that is too small for all measures, before the samples are drawn.

    Args:
        num_samples: how many samples are to be measured.
        classifier: whether there are logits, and so an Inception score.

    Raises:
        ValueError: naming the smallest number.
    """
    least = 2 * SPLITS if classifier else FEWEST_ITEMS
    if num_samples < least:
        cause = "its Inception score takes two of each split" if classifier else "its KID takes subsets of a fifth"
        raise ValueError(f"quality needs at least {least} samples, got {num_samples}: {cause}")


class Reference:
    """Real items that samples are compared with. What depends on them alone is computed once.

    Args:
        features: [N, D] floating point, N at least 10.
        logits: [N, K], a classifier's, of the same items; None without one.

    Raises:
        ValueError: if there are too few items, if they are not finite, or if all have the same features.
    """

    def __init__(self, features: Tensor, logits: Tensor | None = None) -> None:
        check_real(features, FEWEST_ITEMS, "quality")
        if logits is not None:
            check_set("real", logits, 1, "quality", "logits")
            if len(logits) != len(features):
                raise ValueError(f"{len(features)} real items need as many logits, got {len(logits)}")
        self.features = features
        self.logits = logits

    def measure(self, features: Tensor, logits: Tensor | None = None) -> Measures:
        """Return the measures of samples; they are the same for the same features, to the last digit.

        Args:
            features: [M, D] floating point, M at least 10; with logits, at least 20.
            logits: [M, K], of the same samples and by the same classifier as the reference's; None if it has none.

        Raises:
            ValueError: in one line, if they do not fit the reference, are too few, or are not finite.
        """
        if (logits is None) != (self.logits is None):
            raise ValueError("logits must be given of both samples and real items, or of neither")
        if logits is not None and len(logits) != len(features):
            raise ValueError(f"{len(features)} samples need as many logits, got {len(logits)}")
        check_num_samples(len(features), classifier=logits is not None)
        # The cheap ones first: what cannot be measured is refused before the balls are computed.
        score = None if logits is None else inception_score(logits)
        balance = None if logits is None or self.logits is None else class_balance(self.logits, logits)
        return Measures(
            num_samples=len(features),
            num_real=len(self.features),
            fid=frechet_distance(self.features, features),
            kid=kernel_distance(self.features, features),
            precision_recall=precision_recall(self._balls_of_3, NeighbourBalls.around(features, 3)),
            density_coverage=density_coverage(self._balls_of_5, features),
            inception_score=score,
            class_balance=balance,
        )

    @cached_property
    def _balls_of_3(self) -> NeighbourBalls:
        return NeighbourBalls.around(self.features, 3)

    @cached_property
    def _balls_of_5(self) -> NeighbourBalls:
        return NeighbourBalls.around(self.features, 5)


def floor(real: Tensor, reference: Reference, n: int, seed: int, logits: Tensor | None = None) -> Measures:
    """Return the measures of n real items: what to expect of samples from the data's own distribution.

    Most measures depend on the number of samples; so the floor of n samples is that of n real items against the same
    reference. Which real items is for the caller to say. Training items are what a perfect model would draw: where the
    test split is the reference, the floor then holds what the splits differ in, such as the writers of MNIST's digits.
    The feature network has seen them, and may see new ones a little differently; compare with the floor of validation
    items, which it has not seen.

    Args:
        real: [L, D] floating point features of real items that are not in the reference, L at least n.
        reference: that the samples are compared with.
        n: the number of samples.
        seed: of the choice of n items without replacement; several give the floor's own spread.
        logits: [L, K] of the same items, if the reference has logits.

    Raises:
        ValueError: if there are fewer than n items; else as in `Reference.measure`.
    """
    if n > len(real):
        raise ValueError(f"the floor of {n} samples needs as many real items, got {len(real)}")
    generator = torch.Generator().manual_seed(derived_seed(seed, "floor") >> 1)
    chosen = torch.randperm(len(real), generator=generator)[:n]
    return reference.measure(real[chosen], None if logits is None else logits[chosen])
