"""All measures of the quality of samples together, over several sampling seeds, beside those of real items."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
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


@dataclass(frozen=True)
class QualityResult:
    """The measures of samples from several seeds, beside those of as many real items.

    Attributes:
        samples: of each sampling seed; at least one.
        floor: of each choice of real items; at least one.
        extractor: the feature network, with the first digits of its hash.
        extractor_hash: of its weights, whole; numbers of different ones cannot be compared.
    """

    samples: Sequence[Measures]
    floor: Sequence[Measures]
    extractor: str
    extractor_hash: str

    def __post_init__(self) -> None:
        if not self.samples or not self.floor:
            raise ValueError("quality needs the measures of one set of samples and of one set of real items at least")
        if len({(one.num_samples, one.num_real, *one.values()) for one in (*self.samples, *self.floor)}) > 1:
            raise ValueError("samples and floor must have the same numbers of items, and the same measures")

    def as_dict(self) -> dict[str, float | str]:
        """For a metrics file: each measure's mean over the seeds, its spread (standard deviation) and its floor.

        They are called ``fid``, ``fid_spread``, ``fid_floor`` and ``fid_floor_spread``; there is no spread for one
        seed. ``kid_error`` and ``inception_score_error`` are those of one set of samples, averaged over the sets.
        """
        samples, floor = _by_measure(self.samples), _by_measure(self.floor)
        found: dict[str, float | str] = {}
        for name in samples:
            found |= _mean_and_spread(samples[name], name) | _mean_and_spread(floor[name], f"{name}_floor")
        found["kid_error"] = statistics.fmean(one.kid.error for one in self.samples)
        spreads = [one.inception_score.spread for one in self.samples if one.inception_score is not None]
        if spreads:
            found["inception_score_error"] = statistics.fmean(spreads)
        return found | {
            "extractor": self.extractor,
            "extractor_hash": self.extractor_hash,
            "num_samples": self.samples[0].num_samples,
            "num_real": self.samples[0].num_real,
            "num_seeds": len(self.samples),
        }

    def summary(self) -> str:
        """One line for people, without the balance of classes."""
        samples, floor = _by_measure(self.samples), _by_measure(self.floor)
        words = [
            f"{_TITLES.get(name, name.replace('_', ' '))} {_shown(values)} (real {_shown(floor[name])})"
            for name, values in samples.items()
            if not name.startswith("class_") and name != "missing_classes"
        ]
        first = self.samples[0]
        seeds = f"{len(self.samples)} seeds" if len(self.samples) > 1 else "one seed, spread n/a"
        return (
            f"{', '.join(words)}; {first.num_samples:,} samples against {first.num_real:,} real ones, {seeds}, "
            f"features of {self.extractor}"
        )


_TITLES = {"fid": "FID", "kid": "KID", "inception_score": "Inception score"}


def _by_measure(sets: Sequence[Measures]) -> dict[str, list[float]]:
    return {name: [one.values()[name] for one in sets] for name in sets[0].values()}


def _mean_and_spread(values: Sequence[float], name: str) -> dict[str, float]:
    found = {name: statistics.fmean(values)}
    if len(values) > 1:
        found[f"{name}_spread"] = statistics.stdev(values)
    return found


def _shown(values: Sequence[float]) -> str:
    return " ± ".join(f"{value:.3g}" for value in _mean_and_spread(values, "").values())
