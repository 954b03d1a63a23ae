"""What a job needs of its machine, from its config, and what there is."""

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
    """A GPU: `token` is its name in CUDA_VISIBLE_DEVICES here, `identity` its name for everybody on this machine."""

    token: str
    identity: str


@dataclass(frozen=True)
class Needs:
    """What a job takes before it starts.

    Attributes:
        threads: of each of its processes, None to leave that as it is.
        cores: as many as threads compute; a job on GPUs takes none.
        gpus: the GPUs that it may have.
        count: how many of them it needs.
        named: whether it asked for just these, by their numbers.
    """

    threads: int | None
    cores: int
    gpus: tuple[Gpu, ...] = ()
    count: int = 0
    named: bool = False


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(count: int) -> list[Gpu]:
    """The GPUs that CUDA shows to this process and to those it starts.

    Args:
        count: how many there are, by `torch.cuda.device_count`.

    They are asked for their identity by a process of its own, for that takes memory on each of them.
    """
    if not count:
        return []
    done = subprocess.run([sys.executable, "-c", _IDENTITIES], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise LabError(f"the GPUs cannot be told apart: {(done.stderr.splitlines() or ['no answer'])[-1]}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    tokens = visible.split(",") if visible else [str(index) for index in range(count)]
    return [Gpu(token.strip(), identity) for token, identity in zip(tokens, json.loads(done.stdout), strict=False)]


def needs(trainer: Mapping[str, Any], share: int | None, here: Sequence[Gpu]) -> Needs:
    """What a job needs.

    Args:
        trainer: its config node, checked.
        share: how many cores it may use; None for all, as a run alone would. Where OMP_NUM_THREADS is set, each of its
            processes has so many threads, whatever its share.
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
    """The numbers of the GPUs that were named; None where it is only said how many."""
    if isinstance(devices, str) and "," in devices:
        devices = [number for number in devices.split(",") if number.strip()]
    return [int(number) for number in devices] if isinstance(devices, list) else None
