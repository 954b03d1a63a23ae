"""A warning where bfloat16 was asked for and float32 is the faster choice."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from diffusion_lab import console
from diffusion_lab.config.build import Parts
from diffusion_lab.machine.bfloat16_speed import slowdown, time_in_turns
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser

#: How long the timing may take, about: long enough for a whole batch of most networks that a CPU can train.
_SECONDS = 3.0


def warn_of_slow_bfloat16(parts: Parts, precision: str, device: torch.device, samples: int, training: bool) -> None:
    """Warn, in one line, if the run's own network is clearly faster in float32 on this CPU.

    A copy of the network is timed in both precisions, uncompiled; neither it nor torch's generator is changed. Nothing
    is timed on other devices and in other precisions.

    Args:
        parts: of the run; the network has not been compiled.
        precision: ``bf16-mixed``, ``bf16-true`` or another.
        device: on which the network will run.
        samples: in each pass of the network, at least 1.
        training: time the gradients, too.
    """
    if device.type != "cpu" or precision not in ("bf16-mixed", "bf16-true"):
        return
    with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(training):
        network = copy.deepcopy(parts.network).train(training)
        rounded = precision == "bf16-true"
        float32 = _passes(parts, network, samples, training, autocast=False)
        low = copy.deepcopy(network).bfloat16() if rounded else network
        bfloat16 = _passes(parts, low, samples, training, autocast=not rounded)
        ratio = slowdown(*time_in_turns(float32, bfloat16, samples, _SECONDS))
    if ratio is None:
        return
    key, work = ("trainer.precision", "training") if training else ("precision", "sampling")
    console.current().warning(
        f"{key}={precision}: on this CPU the network takes {ratio:.2g} times as long in bfloat16 as in float32; "
        f"{key}=32-true is the faster choice for {work}"
    )


def _passes(parts: Parts, network: nn.Module, most: int, training: bool, autocast: bool) -> Callable[[int], None]:
    """Return a function that passes so many samples, at most `most`, through the network, and back if `training`."""
    denoiser = Denoiser(network, parts.module.denoiser.parameterization)
    rows = torch.arange(most)
    z, t = parts.process.prior(parts.pipeline.shape, Noise(rows, 0)), torch.ones(most, dtype=torch.float64)
    condition = None if parts.pipeline.labels is None else torch.zeros_like(rows)

    def work(samples: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            raw = denoiser.raw(z[:samples], t[:samples], None if condition is None else condition[:samples])
        if training:
            raw.sum().backward()
            network.zero_grad()

    return work
