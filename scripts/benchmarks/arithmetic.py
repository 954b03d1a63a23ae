"""The share of a sampling step that is not the network: the arithmetic of the state, its coefficients and its noise."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import lab
from diffusion_lab.config.annotations import type_hints
from diffusion_lab.config.build import build
from diffusion_lab.config.tree import options, read_option
from diffusion_lab.processes import Gaussian

#: What is drawn at a time.
SAMPLES = 64
_STEPS = 20
#: Networks, by their names in the table, with what makes them.
NETWORKS = {"simple_unet": (), "unet": ("network=unet", "network.base_channels=32", "network.num_blocks=1")}


def shares(
    device: torch.device, rounds: int, data: Sequence[str], show_progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for each sampler and network: the median share over the steps of a draw of each round.

    Args:
        device: the device.
        rounds: number of draws of 20 steps, after one that is not timed.
        data: overrides of the data.
        show_progress: called with a description of each part of the work.
    """
    rows = []
    for network, overrides in NETWORKS.items():
        for sampler in filter(_is_for_images, options("sampler")):
            show_progress(f"{network}, {sampler}")
            chosen = [*data, *overrides, f"sampler={sampler}", f"sampler.num_steps={_STEPS}"]
            settings = lab.composed(chosen, fixed=())
            whole, inside = _draws(build(settings), device, rounds)
            rows.append(
                {
                    "what": "arithmetic",
                    "network": network,
                    "sampler": sampler,
                    "seconds_per_step": median(whole) / _STEPS,
                    "arithmetic_seconds": median(w - i for w, i in zip(whole, inside, strict=True)) / _STEPS,
                    "share": median(1 - i / w for w, i in zip(whole, inside, strict=True)),
                }
            )
    return rows


def _is_for_images(sampler: str) -> bool:
    """Return whether a sampler takes a Gaussian process."""
    kind = type_hints(pkgutil.resolve_name(read_option("sampler", sampler)["_target_"]))["process"]
    return issubclass(Gaussian, kind)


def _draws(parts: Any, device: torch.device, rounds: int) -> tuple[list[float], list[float]]:
    """Return the durations of draws, and those of the network in each of them, in seconds."""
    network = parts.network.to(device)
    forward, spent = network.forward, 0.0

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def timed(*arguments: Any) -> Tensor:
        nonlocal spent
        start = now()
        raw = forward(*arguments)
        spent += now() - start
        return raw

    network.forward = timed
    whole, inside = [], []
    for _ in range(rounds + 1):
        spent, start = 0.0, now()
        parts.pipeline.sample(SAMPLES, batch_size=SAMPLES)
        whole.append(now() - start)
        inside.append(spent)
    return whole[1:], inside[1:]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as aligned text."""
    lines = [
        f"a sampling step of {SAMPLES} samples",
        f"{'network':13}{'sampler':14}{'ms/step':>9}{'state ms':>10}{'share':>8}",
    ]
    for row in rows:
        step, state = 1e3 * row["seconds_per_step"], 1e3 * row["arithmetic_seconds"]
        lines.append(f"{row['network']:13}{row['sampler']:14}{step:9.1f}{state:10.2f}{row['share']:8.1%}")
    return "\n".join(lines)
