"""Kernels that give the same bits each time: what `deterministic=true` sets, and takes back.

On a GPU sums are split among threads that finish in any order, and libraries choose kernels by trying them out. A CPU
repeats its bits by itself, for one number of threads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from diffusion_lab import console
from diffusion_lab.machine.ranks import is_rank_zero

#: cuBLAS repeats its bits only with work space of a fixed size; it is read when cuBLAS is first used, in each process.
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")

_ON_A_GPU = (
    "deterministic=true: convolutions, matrix products and sums take only kernels that repeat bit for bit, cuDNN does "
    "not look for the fastest ones, and cuBLAS has work space of a fixed size (about 24 MiB); steps may take longer. "
    "The same bits still need the same GPU, versions and number of processes"
)
_ON_A_CPU = (
    "deterministic=true: a CPU repeats its bits without it, with the same number of threads; it costs nothing here"
)


@contextlib.contextmanager
def kernels_as_configured(trainer: Mapping[str, Any]) -> Iterator[None]:
    """Take only kernels that repeat bit for bit if the trainer's config says ``deterministic: true``.

    Afterwards everything is set as it was before, for whatever the process does next.
    """
    with _restored():
        if trainer.get("deterministic"):
            on_gpu = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") and torch.cuda.device_count() > 0
            _choose_repeatable_kernels()
            if is_rank_zero():
                console.current().note(_ON_A_GPU if on_gpu else _ON_A_CPU)
        yield


def _choose_repeatable_kernels() -> None:
    # Lightning's trainer sets most of it, too, but only when it is made. What is compiled takes it from there.
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Else every new tensor is filled, which would only show who reads what nobody has written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if os.environ.get(_WORKSPACE) not in _FIXED:
        os.environ[_WORKSPACE] = _FIXED[0]


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    modes = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    workspace = os.environ.get(_WORKSPACE)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
        torch.backends.cudnn.benchmark = benchmark
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        os.environ.pop(_WORKSPACE, None)
        if workspace is not None:
            os.environ[_WORKSPACE] = workspace
