"""The environment that a run's bits depend on besides config, code and data: versions, threads and hardware."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.distributed import _suggested_max_num_threads

_PACKAGES = (
    "diffusion-lab",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
    "scikit-learn",
)

#: Environment variables that choose kernels.
_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE", "ONEDNN_MAX_CPU_ISA", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    found["torch"] = str(torch.__version__)  # with its build: +cpu, +cu130
    return found


def hardware() -> dict[str, Any]:
    """Return the properties of this machine that can affect results."""
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cpu_count": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
    }


def compute_environment(trainer: pl.Trainer) -> dict[str, Any]:
    """Return the part of the environment that the bits of a training run depend on.

    The operating system's version, processors that are not used and CUDA on a run that uses no GPU are left out.
    """
    device = trainer.strategy.root_device
    on_gpu = device.type == "cuda"
    here = hardware()
    return {
        "device": device.type,
        "name": torch.cuda.get_device_name(device) if on_gpu else here["processor"],
        "processes": trainer.world_size,
        "threads": _threads(trainer.world_size),
        "precision": str(trainer.precision),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_capability": here["cpu_capability"],
        "cuda": here["cuda"] if on_gpu else None,
        "cudnn": here["cudnn"] if on_gpu else None,
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def processor() -> str:
    """Return the processor's name, from /proc/cpuinfo where there is one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]


def _threads(processes: int) -> int:
    """Return the threads of each process: Lightning gives each of several its share unless OMP_NUM_THREADS is set."""
    shared = processes > 1 and "OMP_NUM_THREADS" not in os.environ
    return _suggested_max_num_threads(processes) if shared else torch.get_num_threads()
