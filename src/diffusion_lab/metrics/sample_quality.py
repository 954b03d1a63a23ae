"""The evaluation `quality`: samples of several seeds beside real items, in the features of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from diffusion_lab.evaluation import Evaluation, Result, Samples, Splits, Subject
from diffusion_lab.figures import typicality_sheet
from diffusion_lab.metrics.extractor import FeatureSource
from diffusion_lab.metrics.kernel_distance import FEWEST_ITEMS
from diffusion_lab.metrics.over_seeds import MOST_SEEDS
from diffusion_lab.metrics.quality import Reference, check_num_samples, floor
from diffusion_lab.metrics.quality_result import QualityResult
from diffusion_lab.metrics.typicality import typicality_order

#: The floor's items are chosen from so many real ones at most, or from twice the number of samples.
_FLOOR_POOL = 5000


@dataclass(frozen=True)
class SampleQualityResult(Result):
    """Measures of samples, and the samples of the first seed in the order of how typical they are.

    Attributes:
        quality: all measures.
        split: the real items that samples were compared with.
        label_accuracy: the share of samples that the classifier takes for what they were to be; None without labels.
        evaluations: how often the network was evaluated for each sample.
        first: the samples of the first seed.
        order: [N] int64 their numbers, from the most to the least typical.
        item: the word for one item.
    """

    quality: QualityResult
    split: str
    label_accuracy: float | None
    evaluations: float
    first: Samples
    order: Tensor
    item: str

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the measures, and what they depend on."""
        found: dict[str, float | str | None] = dict(self.quality.as_dict())
        if self.label_accuracy is not None:
            found["label_accuracy"] = self.label_accuracy
        return found | {"evaluations": self.evaluations, "split": self.split}

    def summary(self) -> str:
        """Return one line for people."""
        text = f"{self.quality.summary()}, {self.split} split, {self.evaluations:g} network evaluations"
        return text if self.label_accuracy is None else f"{text}; {self.label_accuracy:.1%} read as their label"

    def figures(self) -> Mapping[str, Any]:
        """Return the samples from the most typical to the least."""
        return {"typicality": typicality_sheet(self.first.items, self.order, self.item)}


class SampleQuality(Evaluation):
    """Fréchet and kernel distance, Inception-style score, precision, recall, density, coverage, balance of classes.

    Each is reported with its spread over sampling seeds, and beside what as many real items reach: validation images
    where samples are compared with test images, if these differ and are twice as many as the samples; else training
    images.

    Args:
        features: where the features come from.
        num_samples: for each sampling seed; at least 20.
        seeds: how many sampling seeds, from 1 to 1,000.
        split: the real items to compare with: ``val``, to choose by; ``test``, for the number that is reported.

    Raises:
        ValueError: naming the key that is out of its range.
    """

    def __init__(
        self,
        features: FeatureSource,
        num_samples: int = 1000,
        seeds: int = 3,
        split: Literal["val", "test"] = "val",
    ) -> None:
        try:
            check_num_samples(num_samples, classifier=True)
        except ValueError as error:
            raise ValueError(f"evaluation.quality.num_samples: {error}") from error
        if not 1 <= seeds <= MOST_SEEDS:
            raise ValueError(f"evaluation.quality.seeds must be from 1 to {MOST_SEEDS:,}, got {seeds}")
        self.features = features
        self.num_samples = num_samples
        self.seeds = seeds
        self.split = split

    def check(self, data: Splits) -> None:
        """Load the extractor, or train it: what it or the data lacks is said before any sample is drawn.

        Raises:
            ValueError: if there are too few real items.
        """
        for split, count in ((self.split, FEWEST_ITEMS), (self._floor_split(data), self.num_samples)):
            if len(getattr(data, split)) < count:
                raise ValueError(
                    f"{self.num_samples:,} samples are measured beside as many real items, and beside at least "
                    f"{FEWEST_ITEMS}: the {split} split has {len(getattr(data, split)):,}"
                )
        self.features.load_extractor(data)  # type: ignore[arg-type]

    def __call__(self, subject: Subject) -> SampleQualityResult:
        data = subject.data
        extractor = self.features.load_extractor(data, subject.device)  # type: ignore[arg-type]
        reference = Reference(*extractor(data.split(self.split)[0]))
        pool = self._floor_pool(data)
        real, logits = extractor(pool)
        draws = subject.draws(self.num_samples, self.seeds)
        found = [extractor(draw.items) for draw in draws]
        seeds = range(self.seeds)
        quality = QualityResult(
            [reference.measure(*each) for each in found],
            [floor(real, reference, self.num_samples, seed, logits) for seed in seeds],
            extractor.label,
            extractor.weights_hash,
        )
        first = draws[0]
        accuracy = None
        labels = [draw.labels for draw in draws if draw.labels is not None]
        if labels and extractor.accuracy is not None:
            read = torch.cat([scores.argmax(1) for _, scores in found])
            accuracy = float((read == torch.cat(labels)).double().mean())
        order = typicality_order(found[0][0], reference.features)
        return SampleQualityResult(quality, self.split, accuracy, first.evaluations, first, order, data.item)

    def _floor_pool(self, data: Splits) -> Tensor:
        """Return real items that are not among those that samples are compared with."""
        return data.split(self._floor_split(data), max(_FLOOR_POOL, 2 * self.num_samples))[0]

    def _floor_split(self, data: Splits) -> str:
        """Return the split of these: where each choice would be nearly the same items, the spread would be too low."""
        held_out = self.split == "test" and data.val is not data.test and len(data.val) >= 2 * self.num_samples
        return "val" if held_out else "train"
