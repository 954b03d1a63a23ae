"""Compilation of a network with `torch.compile`."""

from __future__ import annotations

import torch
from torch import nn

from diffusion_lab import console


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Compile `network` for `device`, in place, so that the names of its weights do not change.

    On a GPU, the kernels of a pass are replayed as one CUDA graph. Without a C++ compiler, the network stays as it
    is, with a warning.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        console.current().warning(
            "compile=true: no C++ compiler was found, so the network runs uncompiled (install g++)"
        )
        return
    network.compile(mode="reduce-overhead" if device.type == "cuda" else "default")
