"""Cores and GPUs of this machine, and those that a job needs according to its config."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lab.errors import LabError

_IDENTITIES = """
import json, torch
print(json.dumps([str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]))
"""


@dataclass(frozen=True)
class Gpu:
    """A GPU that this process can use.

    Attributes:
        token: its name in CUDA_VISIBLE_DEVICES of this process.
        identity: its UUID, the same in all processes on this machine.
    """

    token: str
    identity: str


@dataclass(frozen=True)
class Needs:
    """Cores and GPUs that a job must have before it starts.

    Attributes:
        threads: number of threads of each of its processes; None for PyTorch's default.
        cores: number of cores, one for each thread; 0 for a job on GPUs.
        gpus: the GPUs that it may get.
        count: how many of these it needs.
        named: whether its config names these GPUs by their numbers.
    """

    threads: int | None
    cores: int
    gpus: tuple[Gpu, ...] = ()
    count: int = 0
    named: bool = False


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(count: int) -> list[Gpu]:
    """Return the GPUs that CUDA shows to this process and to those it starts.

    Args:
        count: their number, from `torch.cuda.device_count`.

    Their UUIDs are read in a separate process, since that allocates memory on each GPU.

    Raises:
        LabError: if they cannot be read.
    """
    if not count:
        return []
    done = subprocess.run([sys.executable, "-c", _IDENTITIES], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise LabError(f"cannot read the UUIDs of the GPUs: {(done.stderr.splitlines() or ['no answer'])[-1]}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    tokens = visible.split(",") if visible else [str(index) for index in range(count)]
    return [Gpu(token.strip(), identity) for token, identity in zip(tokens, json.loads(done.stdout), strict=False)]


def needs(trainer: Mapping[str, Any], share: int | None, here: Sequence[Gpu]) -> Needs:
    """Return the cores and GPUs that a job needs.

    Args:
        trainer: the config node `trainer` of the job, already checked.
        share: number of cores that it may use; None for all, as for a run outside a sweep. Where OMP_NUM_THREADS is
            set, each of the job's processes has that many threads, whatever the share.
        here: the GPUs of this machine.
    """
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices", "auto")
    on_gpu = bool(here) and accelerator in ("gpu", "cuda", "auto")
    numbers = _numbers(devices) if on_gpu else None
    if numbers is not None:
        count = len(numbers)
    else:
        every = len(here) if on_gpu else 1
        count = every if devices in ("auto", -1, "-1") else int(devices)
    typed = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    threads = None if share is None or typed else max(1, share // count)
    if on_gpu:
        chosen = tuple(here) if numbers is None else tuple(here[number] for number in numbers)
        return Needs(threads, 0, chosen, count, named=numbers is not None)
    each = int(typed) if typed.isdecimal() else threads
    return Needs(threads, cores() if each is None else min(cores(), each * count))


def _numbers(devices: Any) -> list[int] | None:
    """Return the numbers of the GPUs that `trainer.devices` names; None if it only says how many."""
    if isinstance(devices, str) and "," in devices:
        devices = [number for number in devices.split(",") if number.strip()]
    return [int(number) for number in devices] if isinstance(devices, list) else None
