"""Does a classifier recognize the samples? A first, cheap question to ask of generated digits.

The judge is scikit-learn's: a bag of small neural networks, each trained on its own part of the training images.
Their mean probability is high only where they agree, which keeps it from being sure of noise; how sure it is of
real images, and of real images with their pixels shuffled, is reported beside every result.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from diffusion_lab.evaluation import Evaluation, Result, Splits, Subject


@dataclass(frozen=True)
class RecognitionResult(Result):
    """Fractions, from 0 to 1, of images that the judge reads with more than the threshold's confidence.

    Attributes:
        samples: of the samples.
        real: of held-out real images: what to expect of perfect samples.
        shuffled: of the same with their pixels shuffled: what to expect of no image at all.
        accuracy: of the judge on the held-out images.
        classes: how many different classes the confidently read samples show.
        threshold: the confidence that was asked for.
        num_samples: how many samples were judged.
        num_real: how many real images were.
    """

    samples: float
    real: float
    shuffled: float
    accuracy: float
    classes: int
    threshold: float
    num_samples: int
    num_real: int

    def as_dict(self) -> dict[str, float]:
        """For a metrics file."""
        return {name: value for name, value in asdict(self).items() if name not in _OF_THE_QUESTION}

    def summary(self) -> str:
        """One line for people."""
        return (
            f"read with more than {self.threshold:.0%} confidence: {self.samples:.0%} of {self.num_samples} samples "
            f"({self.classes} classes among them), {self.real:.0%} of {self.num_real} held-out real images, "
            f"{self.shuffled:.0%} of those with shuffled pixels"
        )


#: What was asked, and no part of the answer.
_OF_THE_QUESTION = ("threshold", "num_samples", "num_real")


class Recognition(Evaluation):
    """Trains the judge and asks it about the samples that were drawn anyway; its real images are the test split's.

    Args:
        threshold: the confidence above which an image counts as read.
        max_train: train the judge on at most so many images.
        members: how many networks are in the bag.
        hidden: the width of each one's hidden layer.
        seed: of the judge.
    """

    def __init__(
        self,
        threshold: float = 0.9,
        max_train: int = 10_000,
        members: int = 5,
        hidden: int = 256,
        seed: int = 0,
    ) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"evaluation.recognition.threshold must lie between 0 and 1, got {threshold}")
        for key, value in (("max_train", max_train), ("members", members), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"evaluation.recognition.{key} must be at least 1, got {value}")
        self.threshold = threshold
        self.max_train = max_train
        self.members = members
        self.hidden = hidden
        self.seed = seed

    def check(self, data: Splits) -> None:
        """Raise ValueError if the judge cannot learn from the training images."""
        labels = data.train.labels
        if labels is None:
            raise ValueError("it needs images with labels, and this data has none")
        found = len(labels[: self.max_train].unique())
        if found < 2:
            raise ValueError(f"it needs training images of two classes at least, got {found}: raise data.limit_train")

    def __call__(self, subject: Subject) -> RecognitionResult:
        """Judge the samples that were drawn anyway."""
        (train, labels), (test, test_labels) = subject.data.split("train", self.max_train), subject.data.split("test")
        assert labels is not None  # `check`
        assert test_labels is not None
        return self.judge(subject.draws()[0].items, (train, labels), (test, test_labels))

    def judge(
        self, samples: Tensor, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]
    ) -> RecognitionResult:
        """Judge `samples` [N, C, H, W], given (images, labels) to train the judge on and to calibrate it with.

        Images are float in [−1, 1]; labels are [N] int64.
        """
        from sklearn.ensemble import BaggingClassifier
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        images, labels = (part[: self.max_train] for part in train)
        network = MLPClassifier((self.hidden,), max_iter=60)
        share = max(1, round(0.8 * len(images)))
        judge = BaggingClassifier(network, self.members, max_samples=share, bootstrap=False, random_state=self.seed)
        with warnings.catch_warnings():
            # 60 passes are meant to be the end of it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            judge.fit(_rows(images), labels.numpy())

        real, real_labels = _rows(held_out[0]), held_out[1].numpy()
        shuffled = np.random.default_rng(self.seed).permuted(real, axis=1)
        of_real = judge.predict_proba(real)
        of_samples = judge.predict_proba(_rows(samples))
        read = of_samples.max(1) > self.threshold
        return RecognitionResult(
            samples=float(read.mean()),
            real=float((of_real.max(1) > self.threshold).mean()),
            shuffled=float((judge.predict_proba(shuffled).max(1) > self.threshold).mean()),
            accuracy=float((judge.classes_[of_real.argmax(1)] == real_labels).mean()),
            classes=len(set(of_samples.argmax(1)[read].tolist())),
            threshold=self.threshold,
            num_samples=len(of_samples),
            num_real=len(real),
        )


def _rows(images: Tensor) -> np.ndarray:
    return images.flatten(1).numpy()
