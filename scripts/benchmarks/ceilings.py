"""Highest rates of the machine, and the number of operations of a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

#: Bytes that are copied: more than fit into any cache.
COPIED = 2**29
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def ceilings(device: torch.device, seconds: float) -> dict[str, dict[str, float]]:
    """Measure the highest rates of matrix products, convolutions and copies, for about `seconds` each.

    Returns:
        For ``matmul`` and ``convolution``: precision → FLOP/s; for ``copy``: precision → bytes/s, read and written.
    """
    rates: dict[str, dict[str, float]] = {"matmul": {}, "convolution": {}, "copy": {}}
    for precision, dtype in DTYPES.items():
        size = 1024 if device.type == "cpu" else 8192
        a = torch.randn(size, size, device=device, dtype=dtype)
        rates["matmul"][precision] = 2 * size**3 / _best(partial(torch.matmul, a, a), seconds, device)
        # The widest convolution of the network; on the CPU with the tutorial's batch size.
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
    """Raise each of `rates`, in place, to the one of `others` if that is higher."""
    for name, by_precision in others.items():
        for precision, rate in by_precision.items():
            rates[name][precision] = max(rates[name][precision], rate)


def limits(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return for each precision the higher of the rates of the matrix product and the convolution, in FLOP/s."""
    return {precision: max(rates["matmul"][precision], rates["convolution"][precision]) for precision in DTYPES}


def flops_per_image(network: nn.Module, shape: tuple[int, ...], training: bool, *condition: torch.Tensor) -> float:
    """Return the operations of `network` for one image [*shape], with those of its gradients if `training`.

    A network that takes a condition gets that of one image.
    """
    with FlopCounterMode(display=False) as counter:
        out = network(torch.zeros(1, *shape), torch.zeros(1), *condition)
        if training:
            out.sum().backward()
    network.zero_grad()
    return float(counter.get_total_flops())


def _best(work: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Return the shortest duration of `work`, in seconds, of calls over about `seconds`."""
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
