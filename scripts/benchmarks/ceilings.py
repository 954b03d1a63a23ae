"""What the machine can do at most, and what the network asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

#: Bytes of what is copied: more than any cache holds.
COPIED = 2**29
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def ceilings(device: torch.device, seconds: float) -> dict[str, dict[str, float]]:
    """The best rates seen within about `seconds` each.

    Returns:
        ``matmul`` and ``convolution``: precision → FLOP/s; ``copy``: precision → bytes/s, read and written.
    """
    rates: dict[str, dict[str, float]] = {"matmul": {}, "convolution": {}, "copy": {}}
    for precision, dtype in DTYPES.items():
        size = 1024 if device.type == "cpu" else 8192
        a = torch.randn(size, size, device=device, dtype=dtype)
        rates["matmul"][precision] = 2 * size**3 / _best(partial(torch.matmul, a, a), seconds, device)
        # The widest convolution of the network, in the batch that the tutorial uses.
        images = 128 if device.type == "cpu" else 2048
        x = torch.randn(images, 64, 28, 28, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        convolution = nn.Conv2d(64, 32, 3, padding=1, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.no_grad():
            best = _best(partial(convolution, x), seconds, device)
        rates["convolution"][precision] = 2 * 9 * 64 * 32 * 28 * 28 * images / best
        source = torch.ones(COPIED // dtype.itemsize, device=device, dtype=dtype)
        target = torch.empty_like(source)
        rates["copy"][precision] = 2 * COPIED / _best(partial(target.copy_, source), seconds, device)
    return rates


def raise_to(rates: dict[str, dict[str, float]], others: dict[str, dict[str, float]]) -> None:
    """Let each of `rates` be at least what `others` says."""
    for name, by_precision in others.items():
        for precision, rate in by_precision.items():
            rates[name][precision] = max(rates[name][precision], rate)


def limits(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    """Precision → the higher of the rates of the matrix product and the convolution."""
    return {precision: max(rates["matmul"][precision], rates["convolution"][precision]) for precision in DTYPES}


def flops_per_image(network: nn.Module, shape: tuple[int, ...], training: bool) -> float:
    """What `network` computes for one image [*shape], with its gradient if it trains."""
    with FlopCounterMode(display=False) as counter:
        out = network(torch.zeros(1, *shape), torch.zeros(1))
        if training:
            out.sum().backward()
    network.zero_grad()
    return float(counter.get_total_flops())


def _best(work: Callable[[], object], seconds: float, device: torch.device) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    for _ in range(3):
        work()
    while True:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best
