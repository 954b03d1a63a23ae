"""The seam that every estimate of the likelihood of data fills."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab.codecs import Codec
from diffusion_lab.errors import LabError
from diffusion_lab.evaluation import Evaluation, Result, Splits, Subject
from diffusion_lab.machine.progress_bars import can_show_bars
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import condition_kind
from diffusion_lab.processes import DiscreteProcess, Gaussian
from diffusion_lab.sampling import Pipeline

#: The option of ``evaluation=`` whose estimates can be made for all processes of a kind.
_ESTIMATORS = {Gaussian: "likelihood", DiscreteProcess: "token_bound"}


@dataclass(frozen=True)
class LikelihoodResult(Result):
    """The negative log-likelihood of data, or a bound on it from above.

    Attributes:
        bits: [N] float64, of each item in bits per dimension.
        rows: [N] int64, which of the items that were given these are.
        dimensions: the number of dimensions of an item, by which its bits are divided.
        evaluations: how often the network was evaluated for each item, on average.
    """

    bits: Tensor
    rows: Tensor
    dimensions: int
    evaluations: float

    @property
    def mean(self) -> float:
        """The mean over items, in bits per dimension."""
        return float(self.bits.mean())

    @property
    def standard_error(self) -> float:
        """That of the mean.

        Each item has noise of its own, so that the spread over items holds the variance of the estimate, too.
        """
        return standard_error(self.bits)

    def as_dict(self) -> dict[str, float | str | None]:
        """For a metrics file."""
        return {
            "bits_per_dim": self.mean,
            "bits_per_dim_error": self.standard_error,
            "num_items": len(self.bits),
            "dimensions": self.dimensions,
            "evaluations": self.evaluations,
        }

    def summary(self) -> str:
        """One line for people."""
        return f"{self.mean:.4f} ± {self.standard_error:.4f} bits/dim over {len(self.bits):,} items"


@dataclass(frozen=True)
class Items:
    """Some of the items that a likelihood is asked for.

    Attributes:
        x: [B, *D] data.
        rows: [B] int64, their numbers, by which their noise is drawn.
        condition: [B] their labels, if the network takes labels.
    """

    x: Tensor
    rows: Tensor
    condition: Tensor | None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: slice | list[int]) -> Items:
        """Return those at these places."""
        return Items(self.x[which], self.rows[which], None if self.condition is None else self.condition[which])


class LikelihoodEstimator(Evaluation):
    """Asks a pipeline's network how probable data is. An item's estimate does not depend on the others.

    The network is asked as it was trained: without guidance, and in 32 bits. A network that takes labels is given that
    of each item, and the likelihood is that of the item given its label.

    Args:
        num_items: of how many items, chosen by the seed; more items include those of fewer. None for all.
        split: the split that these are of: ``train``, ``val`` or ``test``.
        batch_size: how many at a time. Estimates of an item agree within 1e-4 for different ones.
        seed: of all noise.

    Raises:
        ValueError: if an argument lies outside its range.

    Attributes:
        process_kind: the kind of process that it is for.
    """

    draws = False
    process_kind: ClassVar[type[Any]] = Gaussian

    def __init__(
        self, num_items: int | None, split: Literal["train", "val", "test"], batch_size: int, seed: int
    ) -> None:
        if num_items is not None and num_items < 2:
            raise ValueError(f"num_items must be at least 2, for an error over items, or null, got {num_items}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.num_items = num_items
        self.split = split
        self.batch_size = batch_size
        self.seed = seed

    def check_parts(self, pipeline: Pipeline, data: Splits) -> None:
        """Raise LabError if the estimate cannot be made for the pipeline's process and codec."""
        self._check_pipeline(pipeline)

    def check(self, data: Splits) -> None:
        """Do nothing: whether an estimate can be made follows from the process and the codec alone."""

    def __call__(self, subject: Subject) -> LikelihoodResult:
        """Estimate the likelihood of the items of the split."""
        return self.of(subject.pipeline, *subject.data.split(self.split), progress=subject.bar)

    def of(
        self, pipeline: Pipeline, items: Tensor, labels: Tensor | None = None, progress: bool = False
    ) -> LikelihoodResult:
        """Estimate the likelihood of some of `items`.

        Args:
            pipeline: of a process of the kind that the estimate is for.
            items: [N, *D] data, as batches hold it.
            labels: [N] int64; None without labels. A network that takes none is given none.
            progress: show a progress bar, where there is a terminal to show it on.

        Raises:
            LabError: if the data, its labels or the schedule does not fit, or an estimate is not finite.
        """
        self._check_pipeline(pipeline)
        chosen = self._choose(items, labels, pipeline)
        _check_levels(chosen.x, pipeline.codec)
        device, network = next(pipeline.network.parameters()).device, pipeline.network
        was_training = network.training
        network.eval()
        bar = tqdm(
            desc="likelihood",
            unit="evaluation",
            disable=not (progress and can_show_bars()),
        )
        try:
            result = self.estimate(pipeline, pipeline.process, chosen, device, bar)
        finally:
            bar.close()
            network.train(was_training)
        check_finite(result.bits)
        return result

    @abstractmethod
    def check_process(self, process: Any, codec: Codec) -> None:
        """Raise LabError, before anything is computed, if the estimate cannot be made for these.

        Args:
            process: of the kind that the estimate is for.
            codec: of the run.
        """

    @abstractmethod
    def estimate(
        self, pipeline: Pipeline, process: Any, items: Items, device: torch.device, bar: tqdm
    ) -> LikelihoodResult:
        """Return the result for these items.

        Args:
            pipeline: its network is in eval mode.
            process: the pipeline's.
            items: on the CPU, with their noise from `noise`.
            device: the network's.
            bar: to set the total of, and to update.
        """

    def noise(self, rows: Tensor) -> Noise:
        """Return the noise of the items with these numbers [B], drawn where they lie."""
        return Noise(rows, self.seed, "likelihood")

    def _check_pipeline(self, pipeline: Pipeline) -> None:
        if not isinstance(pipeline.process, self.process_kind):
            kind, needed = type(pipeline.process).__name__, self.process_kind.__name__
            others = [option for made_for, option in _ESTIMATORS.items() if isinstance(pipeline.process, made_for)]
            hint = f": take evaluation={others[0]}" if others else ""
            raise LabError(f"{type(self).__name__} needs a process of the kind {needed}, got {kind}{hint}")
        self.check_process(pipeline.process, pipeline.codec)

    def _choose(self, items: Tensor, labels: Tensor | None, pipeline: Pipeline) -> Items:
        """Return `num_items` of the items, in their order, with what the network is told of them."""
        count = len(items) if self.num_items is None else min(self.num_items, len(items))
        if count < 2:
            raise LabError(f"a likelihood with its error needs two items at least, got {count}")
        keys = self.noise(torch.arange(len(items))).at("choice").uniform()
        rows = keys.argsort(stable=True)[:count].sort().values
        kind = condition_kind(pipeline.network)
        if kind is None:
            return Items(items[rows], rows, None)
        if labels is None:
            raise LabError(f"{type(pipeline.network).__name__} takes a {kind} for each item, and the data has none")
        return Items(items[rows], rows, pipeline.condition(count, labels[rows]))


def standard_error(values: Tensor) -> float:
    """Return the standard error of the mean of independent values [N]."""
    return float(values.std()) / math.sqrt(len(values))


def check_finite(values: Tensor) -> None:
    """Raise LabError if values [B, …] that are computed for a likelihood are not finite."""
    if not bool(values.isfinite().all()):
        raise LabError(
            "the likelihood of an item is not finite: weights that are not finite do this; try checkpoint=best"
        )


def half_width(codec: Codec) -> float:
    """Return half the distance of neighbouring values of a code: 1/255 for pixels.

    Raises:
        LabError: if codes of data are not evenly spaced.
    """
    if codec.levels is None or codec.value_range is None:
        raise LabError(f"codec={type(codec).__name__} does not say how data is quantized (levels and value_range)")
    low, high = codec.value_range
    return (high - low) / (codec.levels - 1) / 2


def least_noise(process: Gaussian, codec: Codec, min_noise: float | None) -> float:
    """Return sigma/alpha where there is the least noise that is looked at.

    Args:
        process: of T steps, of which the first is the least noise that its network knows; or in continuous time.
        codec: says what it is by default: the standard deviation of noise that is uniform between neighbouring
            values of the data, 2/255/√12 for pixels, or the least that the network knows.
        min_noise: what it shall be; None for the default.

    Raises:
        LabError: if the schedule has no such noise, or the codec says no default.
    """
    schedule = process.schedule
    first = torch.tensor(1 / schedule.steps if schedule.steps else 0.0, dtype=torch.float64)
    least = math.exp(-float(schedule.log_snr(first)) / 2)
    most = math.exp(-float(schedule.log_snr(torch.ones((), dtype=torch.float64))) / 2)
    noise = max(half_width(codec) / math.sqrt(3), least) if min_noise is None else min_noise
    if not least <= noise < most:
        raise LabError(
            f"min_noise={noise:.4g} is no sigma/alpha of the schedule {type(schedule).__name__}, whose network knows "
            f"{least:.4g} to {most:.4g}"
        )
    return noise


def _check_levels(x: Tensor, codec: Codec) -> None:
    """Raise LabError if data [N, *D] is not of the values that the codec's likelihood is for."""
    if codec.levels is None or codec.value_range is None:
        return
    number = (codec.encode(x).double() - codec.value_range[0]) / (2 * half_width(codec))
    off = (number - number.round()).abs().max()
    if not (off < 1e-3 and number.min() > -0.5 and number.max() < codec.levels - 0.5):
        raise LabError(
            f"codec={type(codec).__name__} gives probabilities to {codec.levels} values, evenly spaced over "
            f"{list(codec.value_range)}, and the data has others: {x.min():.4g} to {x.max():.4g}"
        )
