"""The evaluation `cas`: what a classifier learns from generated images (Ravuri & Vinyals 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from diffusion_lab.data import Split
from diffusion_lab.evaluation import Evaluation, Result, Splits, Subject
from diffusion_lab.figures.image_grid import to_uint8
from diffusion_lab.metrics.feature_training import FeatureTraining, accuracy, check_trainable, train_network


@dataclass(frozen=True)
class ClassificationAccuracyResult(Result):
    """Accuracies from 0 to 1 of a classifier on real images.

    Attributes:
        generated: of the one that was trained on generated images alone.
        real: of the same network, trained the same way on the real training images: what to expect at best.
        num_samples: of how many generated images.
        split: the real images that both were tested on.
        evaluations: how often the network was evaluated for each sample.
    """

    generated: float
    real: float
    num_samples: int
    split: str
    evaluations: float

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the accuracies, and what they depend on."""
        return {
            "accuracy": self.generated,
            "accuracy_real": self.real,
            "num_samples": self.num_samples,
            "split": self.split,
            "evaluations": self.evaluations,
        }

    def summary(self) -> str:
        """Return one line for people."""
        return (
            f"a classifier that learned from {self.num_samples:,} generated images alone finds the class of "
            f"{self.generated:.2%} of the real {self.split} images; one that learned from real ones, {self.real:.2%}"
        )


class ClassificationAccuracy(Evaluation):
    """Trains a classifier on generated images and the labels they were drawn for, and tests it on real images.

    Args:
        num_samples: how many images are generated, of the first sampling seed; the classes in turn.
        steps: of the classifier's optimizer.
        label_smoothing: see `FeatureTraining`; a few generated images are not of the class that they were drawn for.
        split: the real images to test on.

    Raises:
        ValueError: naming the key that is out of its range.
    """

    def __init__(
        self,
        num_samples: int = 10_000,
        steps: int = 2500,
        label_smoothing: float = 0.1,
        split: Literal["val", "test"] = "val",
    ) -> None:
        for key, value, least in (("num_samples", num_samples, 2), ("steps", steps, 1)):
            if value < least:
                raise ValueError(f"evaluation.cas.{key} must be at least {least}, got {value}")
        self.num_samples = num_samples
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"evaluation.cas.label_smoothing must be from 0 to below 1, got {label_smoothing}")
        self.training = FeatureTraining(steps=steps, label_smoothing=label_smoothing)
        self.split = split

    def check_parts(self, pipeline: Any, data: Splits) -> None:
        """Raise ValueError if the run's network takes no labels."""
        if pipeline.labels is None:
            raise ValueError("it needs samples of known classes, and the run's network takes no labels")

    def check(self, data: Splits) -> None:
        """Raise LabError if the data is no images with labels."""
        check_trainable(data)  # type: ignore[arg-type]

    def __call__(self, subject: Subject) -> ClassificationAccuracyResult:
        data: Any = subject.data
        (draw,) = subject.draws(self.num_samples)
        generated = Split(to_uint8(draw.items).permute(0, 3, 1, 2).contiguous(), draw.labels)
        test = getattr(data, self.split)
        of_generated, of_real = (
            accuracy(train_network(data, self.training, subject.device, images), data, test)
            for images in (generated, data.train)
        )
        return ClassificationAccuracyResult(of_generated, of_real, self.num_samples, self.split, draw.evaluations)
