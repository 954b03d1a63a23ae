"""Kernels that compute the same bits each time: the setting `deterministic=true`.

On a GPU, sums are split among threads that finish in any order, and libraries choose kernels by timing them. On a CPU,
results are identical for the same number of threads in any case.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from diffusion_lab import console
from diffusion_lab.machine.ranks import is_rank_zero

#: cuBLAS is deterministic only with a workspace of fixed size; each process reads this when it first uses cuBLAS.
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")

_ON_A_GPU = (
    "deterministic=true: convolutions, matrix products and sums use deterministic kernels only, cuDNN does not search "
    "for the fastest ones, and cuBLAS uses a workspace of fixed size (about 24 MiB); steps may take longer. "
    "Identical bits still need the same GPU, versions and number of processes"
)
_ON_A_CPU = (
    "deterministic=true: on a CPU, results are identical without it for the same number of threads; it costs "
    "nothing here"
)


@contextlib.contextmanager
def deterministic_kernels(enabled: bool, accelerator: str) -> Iterator[None]:
    """Use deterministic kernels in the block, if `enabled`; the settings from before are restored in any case.

    Args:
        enabled: whether to use them, and to tell the user what that means.
        accelerator: `trainer.accelerator`: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
    """
    with _settings_restored():
        if enabled:
            _choose_deterministic_kernels()
            if is_rank_zero():
                on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.device_count() > 0
                console.current().note(_ON_A_GPU if on_gpu else _ON_A_CPU)
        yield


def _choose_deterministic_kernels() -> None:
    # Lightning's trainer sets most of this too, but only when it is created. Compiled code follows these settings.
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # By default, deterministic algorithms also fill every new tensor, which only helps to find reads of unset memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if os.environ.get(_WORKSPACE) not in _FIXED:
        os.environ[_WORKSPACE] = _FIXED[0]


@contextlib.contextmanager
def _settings_restored() -> Iterator[None]:
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
