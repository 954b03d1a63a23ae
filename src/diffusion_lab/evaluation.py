"""The seam that every evaluation fills: a question that is asked of a trained model, and its answer in numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusion_lab.vocabulary import Vocabulary


@dataclass(frozen=True)
class Samples:
    """Generated data.

    Attributes:
        items: [N, *D] in the dtype of the data: float32 in [−1, 1] for images.
        labels: [N] int64 what each was to be of; None without labels.
        evaluations: how often the network was evaluated for each; NaN if that is not known.
    """

    items: Tensor
    labels: Tensor | None
    evaluations: float


class Splits(Protocol):
    """Real data, as `diffusion_lab.data.DataModule` has it."""

    item: str
    num_classes: int | None
    vocabulary: Vocabulary | None
    train: Any
    val: Any
    test: Any

    @property
    def shape(self) -> tuple[int, ...]: ...

    def split(self, name: str, count: int | None = None) -> tuple[Tensor, Tensor | None]: ...

    def stream(self, name: str) -> Tensor: ...

    def fingerprint(self) -> dict[str, str]: ...


class Subject(Protocol):
    """The subject of an evaluation: a trained model, the samples it draws, and the data that it was trained on.

    Attributes:
        data: the real data.
        pipeline: draws samples, and holds the network and the process: a `diffusion_lab.sampling.Pipeline`.
        device: that the network is on.
        bar: whether a progress bar may be shown.
    """

    @property
    def pipeline(self) -> Any: ...

    @property
    def bar(self) -> bool: ...

    @property
    def data(self) -> Splits: ...

    @property
    def device(self) -> torch.device: ...

    def draws(self, num_samples: int | None = None, seeds: int = 1) -> Sequence[Samples]:
        """Return samples for each of several sampling seeds; they are drawn when they are first asked for.

        Args:
            num_samples: how many for each seed; None for those that were drawn anyway.
            seeds: how many seeds: the one that was typed, and those after it.
        """
        ...


class Result(ABC):
    """The answer of an evaluation."""

    @abstractmethod
    def as_dict(self) -> Mapping[str, float | str | None]:
        """Return its numbers and the facts that they depend on, by name; the first one is the main number."""

    @abstractmethod
    def summary(self) -> str:
        """Return one line for people."""

    def figures(self) -> Mapping[str, Any]:
        """Return its figures by name: matplotlib's, or of the kind `diffusion_lab.figures.Sheet`; none by default."""
        return {}


class Evaluation(ABC):
    """An entry of the config group `evaluation`.

    Attributes:
        draws: whether it looks at samples, so that the sampler matters.
    """

    draws: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, subject: Subject) -> Result:
        """Evaluate a model.

        Raises:
            LabError: naming the key that does not fit.
        """

    def check_parts(self, pipeline: Any, data: Splits) -> None:
        """Check that a run of these parts allows this evaluation, before anything is trained or drawn.

        Args:
            pipeline: as in `Subject`; its network need not be trained.
            data: as in `Subject`, but its items need not be there.

        Raises:
            ValueError: saying what it needs.
        """
        return

    @abstractmethod
    def check(self, data: Splits) -> None:
        """Check that the data, which is there, allows this evaluation.

        Raises:
            ValueError: saying what it needs.
        """
