"""The evaluation `memorization`: how near samples are to training items, beside real items that were held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from diffusion_lab.evaluation import Evaluation, Result, Splits, Subject
from diffusion_lab.figures import nearest_training_sheet
from diffusion_lab.metrics.extractor import FeatureSource
from diffusion_lab.metrics.memorization import Memorization, memorization


@dataclass(frozen=True)
class TrainingDistancesResult(Result):
    """Distances of samples and of held-out items from the nearest training items.

    Attributes:
        found: the distances.
        extractor, extractor_hash: the feature network.
        evaluations: how often the network was evaluated for each sample.
        samples, nearest: [N, *D] the samples, and the training item that is nearest to each.
        item: the word for one item.
    """

    found: Memorization
    extractor: str
    extractor_hash: str
    evaluations: float
    samples: Tensor
    nearest: Tensor
    item: str

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the numbers, and what they depend on."""
        facts = {"extractor": self.extractor, "extractor_hash": self.extractor_hash}
        return {**self.found.as_dict(), **facts, "num_samples": len(self.samples), "evaluations": self.evaluations}

    def summary(self) -> str:
        """Return one line for people."""
        return f"{self.found.summary()}; features of {self.extractor}"

    def figures(self) -> Mapping[str, Any]:
        """Return the nearest pairs, and the distribution of the distances."""
        from diffusion_lab.figures.quality_figures import nearest_distance_histogram

        distances, held_out = self.found.samples.distance, self.found.held_out.distance
        return {
            "nearest": nearest_training_sheet(self.samples, self.nearest, distances, self.item),
            "distances": nearest_distance_histogram(distances, held_out, self.found.threshold, self.item),
        }


class TrainingDistances(Evaluation):
    """Finds the training item that is nearest to each sample, in the features of a classifier.

    Args:
        features: where the features come from.
        num_samples: how many samples, of the first sampling seed.
        split: the held-out items that samples are compared with.

    Raises:
        ValueError: naming the key that is out of its range.
    """

    def __init__(self, features: FeatureSource, num_samples: int = 1000, split: Literal["val", "test"] = "val") -> None:
        if num_samples < 1:
            raise ValueError(f"evaluation.memorization.num_samples must be at least 1, got {num_samples}")
        self.features = features
        self.num_samples = num_samples
        self.split = split

    def check(self, data: Splits) -> None:
        """Load the extractor, or train it: what it lacks is said before any sample is drawn."""
        self.features.load_extractor(data)  # type: ignore[arg-type]

    def __call__(self, subject: Subject) -> TrainingDistancesResult:
        data = subject.data
        extractor = self.features.load_extractor(data, subject.device)  # type: ignore[arg-type]
        (draw,) = subject.draws(self.num_samples)
        train = data.split("train")[0]
        features = [
            extractor(items, progress=subject.bar)[0] for items in (draw.items, data.split(self.split)[0], train)
        ]
        found = memorization(*features)
        nearest = train[found.samples.index]
        facts = extractor.label, extractor.weights_hash, draw.evaluations
        return TrainingDistancesResult(found, *facts, draw.items, nearest, data.item)
