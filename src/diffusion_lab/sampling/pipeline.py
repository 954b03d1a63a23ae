"""Everything that is needed to draw samples, as one object."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from diffusion_lab.codecs import Codec
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Parameterization, condition_kind
from diffusion_lab.processes import Process
from diffusion_lab.sampling.base import DenoiserFn, DenoiserTransform, Sampler
from diffusion_lab.sampling.loop import Step, draw
from diffusion_lab.sampling.trajectory import Trajectory

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Draw:
    """Samples, and the facts of how they were drawn.

    Attributes:
        samples: [N, *D] data on the CPU, in its own dtype: float32 in [−1, 1] for images.
        condition: [N, …] what each of them was to be of; None without one.
        evaluations: how often the network was evaluated for each sample.
    """

    samples: Tensor
    condition: Tensor | None
    evaluations: float


class Pipeline:
    """Noise → samples.

    Args:
        network: the backbone.
        parameterization: what its output means.
        process: supplies the prior.
        codec: from the space that is diffused to data.
        sampler: takes the steps.
        transforms: of the denoiser, in the order in which they are applied to a prediction.
        shape: of one sample in the space that is diffused, as [C, H, W].
        num_classes: how many labels there are, for a network that takes them.
    """

    def __init__(
        self,
        network: nn.Module,
        parameterization: Parameterization,
        process: Process,
        codec: Codec,
        sampler: Sampler,
        transforms: Sequence[DenoiserTransform],
        shape: tuple[int, ...],
        num_classes: int | None = None,
    ) -> None:
        self.network = network
        self.process = process
        self.codec = codec
        self.sampler = sampler
        self.shape = shape
        self.num_classes = num_classes
        clipped = any(transform.clips for transform in transforms)
        self.warning = sampler.warning(bounded=clipped or not parameterization.divides_by_alpha)
        self._plain = Denoiser(network, parameterization)
        self.denoiser: DenoiserFn = self._plain
        for transform in transforms:
            self.denoiser = transform(self.denoiser)

    def sample(self, num_samples: int, seed: int = 0, **options: object) -> Tensor:
        """Return the samples [num_samples, *D] of `draw`, which has the same arguments."""
        return self.draw(num_samples, seed, **options).samples  # type: ignore[arg-type]

    def draw(
        self,
        num_samples: int,
        seed: int = 0,
        batch_size: int = 256,
        condition: Tensor | Sequence[int] | None = None,
        trajectory: Trajectory | None = None,
        on_step: Callable[[Step], None] | None = None,
        progress: bool = False,
        precision: str = "32-true",
    ) -> Draw:
        """Draw samples.

        Args:
            num_samples: how many.
            seed: sample i of a seed is the same, within 1e-4 for floating data, whatever `num_samples` and
                `batch_size` are.
            batch_size: how many at a time.
            condition: [num_samples] the label of each sample; None: the classes in turn, if the network takes labels.
            trajectory: records the way of the first samples; it must not ask for more than `batch_size`.
            on_step: is called after each step; an exception it raises ends the draw.
            progress: show a progress bar, where there is a terminal to show it on.
            precision: ``32-true``, or ``bf16-mixed`` to let the network round to bfloat16; the state and the
                sampler's arithmetic stay float32.

        Raises:
            LabError: if the condition does not fit, or the draw ends in numbers that are not finite.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, got {precision}")
        device = next(self.network.parameters()).device
        of = self._condition(num_samples, condition)
        was_training = self.network.training
        self.network.eval()
        batches = range(0, num_samples, batch_size)
        bar = tqdm(
            total=len(batches) * len(self.sampler.steps),
            desc="sampling",
            unit="step",
            disable=not (progress and sys.stderr.isatty()),
        )
        drawn, before = [], self._plain.evaluations
        try:
            for first in batches:
                listeners: list[Callable[[Step], object]] = [lambda step: bar.update()]
                rows = torch.arange(first, min(first + batch_size, num_samples), device=device)
                noise = Noise(rows, seed, "sample")
                start = self.process.prior(self.shape, noise.at("prior"))
                if trajectory is not None and first == 0:
                    trajectory.start(start)
                    listeners.append(trajectory.record)
                if on_step is not None:
                    listeners.append(on_step)

                def tell(step: Step, listeners: list[Callable[[Step], object]] = listeners) -> None:
                    for listener in listeners:
                        listener(step)

                here = None if of is None else of[first : first + batch_size].to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                    z = draw(self.denoiser, self.sampler, start, noise, here, tell)
                _check_finite(z)
                with torch.no_grad():
                    drawn.append(self.codec.decode(z).cpu())
        finally:
            bar.close()
            self.network.train(was_training)
        samples = torch.cat(drawn) if drawn else torch.empty(0, *self.shape)
        return Draw(samples, of, (self._plain.evaluations - before) / max(num_samples, 1))

    @property
    def labels(self) -> int | None:
        """How many labels the network may be given; None if it takes none."""
        return self.num_classes if condition_kind(self.network) == "label" else None

    def _condition(self, num_samples: int, given: Tensor | Sequence[int] | None) -> Tensor | None:
        """Return the condition of each sample: the given one, or the classes in turn for a network with labels."""
        if condition_kind(self.network) != "label":
            return None if given is None else torch.as_tensor(given)  # which the denoiser refuses
        if self.num_classes is None:
            raise LabError(f"{type(self.network).__name__} takes labels, and the data has none")
        if given is None:
            return torch.arange(num_samples) % self.num_classes
        labels = torch.as_tensor(given)
        if labels.shape != (num_samples,):
            raise LabError(f"{num_samples} samples need as many labels, got the shape {list(labels.shape)}")
        if num_samples and not bool(((labels >= 0) & (labels < self.num_classes)).all()):
            raise LabError(f"a label lies between 0 and {self.num_classes - 1}, got {labels.unique().tolist()}")
        return labels


def _check_finite(z: Tensor) -> None:
    if z.is_floating_point() and not bool(z.isfinite().all()):
        bad = int((~z.isfinite()).flatten(1).any(1).sum())
        raise LabError(
            f"the draw ended in numbers that are not finite, in {bad} of {len(z)} samples: it is no result. Weights "
            "that are not finite, or a sampler that diverges, do this: try checkpoint=best, clip=x0 or more steps"
        )
