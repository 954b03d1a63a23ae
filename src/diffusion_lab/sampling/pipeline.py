"""Everything that is needed to draw samples, as one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from diffusion_lab.codecs import Codec
from diffusion_lab.errors import LabError
from diffusion_lab.machine.progress_bars import can_show_bars
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Parameterization, condition_kind
from diffusion_lab.processes import Process
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform, Sampler, Walk
from diffusion_lab.sampling.given_labels import checked_labels
from diffusion_lab.sampling.inversion import Inversion
from diffusion_lab.sampling.loop import Step, draw
from diffusion_lab.sampling.step_confidence import step_confidence
from diffusion_lab.sampling.trajectory import Trajectory

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Draw:
    """Samples, and the facts of how they were drawn.

    Attributes:
        samples: [N, *D] data on the CPU, in its own dtype: float32 in [−1, 1] for images; or states, for `invert`.
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

    Attributes:
        plain_denoiser: without the transforms.
        denoiser: with them, for draws without a constraint.
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
        self.plain_denoiser = Denoiser(network, parameterization)
        self.transforms = transforms
        self.denoiser = self.transformed(None)

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
        start: Tensor | None = None,
        constraint: Constraint | None = None,
        first: int = 0,
        length: int | None = None,
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
            start: [num_samples, *D] the state to start from, as `invert` returns it; None for draws from the prior.
            constraint: what is known of the samples beforehand; None without any.
            first: the number of the first sample, to draw a part of the samples of a seed.
            length: of each sample, for a network that sees blocks; None for that in training.

        Raises:
            LabError: if the condition, `start` or `length` does not fit, or the draw ends in numbers that are not
                finite.
        """
        shape, sampler = self.shape, self.sampler
        if length is not None:
            shape = (self.whole_blocks(length),)
            sampler = sampler.of_length(*shape)
        if start is not None and start.shape != (num_samples, *shape):
            raise LabError(f"start must be [{num_samples}, {', '.join(map(str, shape))}], got {list(start.shape)}")

        def first_state(noise: Noise) -> Tensor:
            if start is not None:
                return start[noise.rows.to(start.device) - first].to(noise.rows.device)
            return self.process.prior(shape, noise.at("prior"))

        return self._walk(
            sampler if constraint is None else constraint.walk(sampler),
            first_state,
            lambda z: self.codec.decode(z if length is None else z[:, :length]),
            num_samples,
            self.condition(num_samples, condition, first),
            first=first,
            seed=seed,
            batch_size=batch_size,
            trajectory=trajectory,
            on_step=on_step,
            progress="sampling" if progress else None,
            precision=precision,
            constraint=constraint,
        )

    def transformed(self, constraint: Constraint | None) -> DenoiserFn:
        """Return the denoiser with the transforms, for draws under a constraint."""
        denoiser: DenoiserFn = self.plain_denoiser
        for transform in self.transforms:
            denoiser = transform(denoiser, constraint)
        return denoiser

    def invert(
        self,
        samples: Tensor,
        condition: Tensor | Sequence[int] | None = None,
        batch_size: int = 256,
        progress: bool = False,
        precision: str = "32-true",
    ) -> Draw:
        """Return the noise from which the sampler draws these samples, nearly: see `Inversion`.

        It uses the same transforms of the denoiser as a draw does, guidance included.

        Args:
            samples: [N, *D] data.
            condition: [N] the label of each sample, if the network takes labels.
            batch_size, progress, precision: as for `draw`.

        Returns:
            The states [N, *D] at the first time that the sampler visits, t = 1 but on a leading grid, in the place of
            samples. ``draw(N, start=…)`` leads from there back to the data.

        Raises:
            ValueError: naming the sampler, if it adds noise.
            LabError: if the condition does not fit.
        """
        if condition is None and self.labels is not None:
            raise LabError("the label of each sample must be given, to turn it into noise")
        return self._walk(
            self.inversion(),
            lambda noise: self.codec.encode(samples[noise.rows.to(samples.device)].to(noise.rows.device)),
            lambda z: z,
            len(samples),
            self.condition(len(samples), condition),
            batch_size=batch_size,
            progress="inverting" if progress else None,
            precision=precision,
        )

    def inversion(self) -> Inversion:
        """Return the way of `invert`.

        Raises:
            ValueError: naming the sampler, if it adds noise.
        """
        return Inversion(self.process, self.sampler)  # type: ignore[arg-type]  # Gaussian, if the sampler is reversible

    def _walk(
        self,
        walk: Walk,
        first_state: Callable[[Noise], Tensor],
        finish: Callable[[Tensor], Tensor],
        count: int,
        condition: Tensor | None,
        seed: int = 0,
        batch_size: int = 256,
        trajectory: Trajectory | None = None,
        on_step: Callable[[Step], None] | None = None,
        progress: str | None = None,
        precision: str = "32-true",
        constraint: Constraint | None = None,
        first: int = 0,
    ) -> Draw:
        """Take `count` states along a walk, a batch at a time.

        Args:
            walk: yields the times and takes the steps.
            first_state: from the noise of a batch, whose rows are the numbers of its samples, to its first states.
            finish: from the last states to what is returned.
            count: how many.
            condition: [count, …] of each, checked; None without one.
            progress: the word of the progress bar; None without one.
            seed, batch_size, trajectory, on_step, precision, constraint, first: as for `draw`.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, got {precision}")
        device = next(self.network.parameters()).device
        was_training = self.network.training
        self.network.eval()
        batches = range(0, count, batch_size)
        bar = tqdm(
            total=len(batches) * len(walk.steps),
            desc=progress,
            unit="step",
            disable=not (progress and can_show_bars()),
        )
        denoiser = self.transformed(constraint)
        done, before = [], self.plain_denoiser.evaluations
        try:
            for begin in batches:
                listeners: list[Callable[[Step], object]] = [lambda step: bar.update()]
                rows = torch.arange(begin, min(begin + batch_size, count), device=device)
                noise = Noise(first + rows, seed, "sample")
                with torch.no_grad():
                    start = first_state(noise)
                if trajectory is not None and begin == 0:
                    listeners.append(
                        lambda step: trajectory.record(step, step_confidence(self.process, walk, step, constraint))
                    )
                if on_step is not None:
                    listeners.append(on_step)

                def tell(step: Step, listeners: list[Callable[[Step], object]] = listeners) -> None:
                    for listener in listeners:
                        listener(step)

                here = None if condition is None else condition[begin : begin + batch_size].to(device)
                with (
                    torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"),
                    self.plain_denoiser.remembering(),
                ):
                    z = draw(denoiser, walk, start, noise, here, constraint, tell)
                _check_finite(z)
                with torch.no_grad():
                    done.append(finish(z).cpu())
        finally:
            bar.close()
            self.network.train(was_training)
        result = torch.cat(done) if done else torch.empty(0, *self.shape)
        return Draw(result, condition, (self.plain_denoiser.evaluations - before) / max(count, 1))

    @property
    def facts(self) -> dict[str, float]:
        """The numbers of the predictions that a person wants to see beside samples, such as their temperature."""
        facts: dict[str, float] = {}
        for found in (self.process.facts, *(transform.facts for transform in self.transforms)):
            facts |= found
        return facts

    def whole_blocks(self, length: int) -> int:
        """Return how many positions are drawn for sequences of a length, in whole blocks.

        Raises:
            LabError: if the network sees no blocks, and so knows one length alone.
        """
        size = self.plain_denoiser.block_size
        if size is None:
            raise LabError(
                f"length={length}: the run draws samples of the shape {list(self.shape)}, as in training; for any "
                "length, train with network.block_size"
            )
        return -(-length // size) * size

    @property
    def labels(self) -> int | None:
        """How many labels the network may be given; None if it takes none."""
        return self.num_classes if condition_kind(self.network) == "label" else None

    def labels_in_turn(self, num_samples: int, first: int = 0) -> Tensor | None:
        """Return the labels [num_samples] int64 of samples for which none are given; None without labels."""
        return None if self.labels is None else torch.arange(first, first + num_samples) % self.labels

    def condition(self, num_samples: int, given: Tensor | Sequence[int] | None, first: int = 0) -> Tensor | None:
        """Return the condition of each sample: the given one, or the classes in turn for a network with labels.

        Raises:
            LabError: if it is not one label for each sample, or the data has no labels and the network takes them.
        """
        if condition_kind(self.network) != "label":
            return None if given is None else torch.as_tensor(given)  # which the denoiser refuses
        if self.num_classes is None:
            raise LabError(f"{type(self.network).__name__} takes labels, and the data has none")
        return (
            self.labels_in_turn(num_samples, first)
            if given is None
            else checked_labels(given, num_samples, self.num_classes)
        )


def _check_finite(z: Tensor) -> None:
    if z.is_floating_point() and not bool(z.isfinite().all()):
        bad = int((~z.isfinite()).flatten(1).any(1).sum())
        raise LabError(
            f"the draw ended in numbers that are not finite, in {bad} of {len(z)} samples: it is no result. Weights "
            "that are not finite, or a sampler that diverges, do this: try checkpoint=best, clip=x0 or more steps"
        )
