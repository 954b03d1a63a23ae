"""Everything that is needed to draw samples, as one object."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from tqdm import tqdm

from diffusion_lab.codecs import Pixels
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Parameterization
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling.base import DenoiserFn, Sampler
from diffusion_lab.sampling.clip import ClippedDenoiser
from diffusion_lab.sampling.loop import Step, draw
from diffusion_lab.sampling.trajectory import Trajectory


class Pipeline:
    """Noise → samples.

    Args:
        network: the backbone.
        parameterization: what its output means.
        process: supplies the prior.
        codec: from the space that is diffused to data.
        sampler: takes the steps.
        shape: of one sample in the space that is diffused, as [C, H, W].
        clip_x0: clip the predicted data to [−1, 1] at each step.
    """

    def __init__(
        self,
        network: nn.Module,
        parameterization: Parameterization,
        process: Gaussian,
        codec: Pixels,
        sampler: Sampler,
        shape: tuple[int, ...],
        clip_x0: bool,
    ) -> None:
        self.network = network
        self.process = process
        self.codec = codec
        self.sampler = sampler
        self.shape = shape
        self.denoiser: DenoiserFn = Denoiser(network, parameterization)
        if clip_x0:
            self.denoiser = ClippedDenoiser(self.denoiser, process)

    def sample(
        self,
        num_samples: int,
        seed: int = 0,
        batch_size: int = 256,
        trajectory: Trajectory | None = None,
        on_step: Callable[[Step], None] | None = None,
        progress: bool = False,
        precision: str = "32-true",
    ) -> Tensor:
        """Draw samples.

        Args:
            num_samples: how many.
            seed: sample i of a seed is the same, within 1e-4, whatever `num_samples` and `batch_size` are.
            batch_size: how many at a time.
            trajectory: records the way of the first samples; it must not ask for more than `batch_size`.
            on_step: told of each step; an exception it raises ends the draw.
            progress: show a progress bar, where there is a terminal to show it on.
            precision: ``32-true``, or ``bf16-mixed`` to let the network round to bfloat16; the state and the
                sampler's arithmetic stay float32.

        Returns:
            [num_samples, *D] float32 data on the CPU, in [−1, 1] for images.
        """
        if precision not in ("32-true", "bf16-mixed"):
            raise ValueError(f"precision must be 32-true or bf16-mixed, got {precision}")
        device = next(self.network.parameters()).device
        was_training = self.network.training
        self.network.eval()
        batches = range(0, num_samples, batch_size)
        bar = tqdm(
            total=len(batches) * len(self.sampler),
            desc="sampling",
            unit="step",
            disable=not (progress and sys.stderr.isatty()),
        )
        drawn = []
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

                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                    z = draw(self.denoiser, self.sampler, start, noise, tell)
                drawn.append(self.codec.decode(z).float().cpu())
        finally:
            bar.close()
            self.network.train(was_training)
        return torch.cat(drawn) if drawn else torch.empty(0, *self.shape)
