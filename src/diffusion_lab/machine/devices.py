"""Choice of the device that tensors are on."""

from __future__ import annotations

import torch

from diffusion_lab.errors import LabError


def torch_device(name: str) -> torch.device:
    """Return the device called `name`; for ``auto``, the machine's accelerator if it has one, else the CPU.

    Raises:
        LabError: if this machine does not have the device.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return torch.device(accelerator.type if accelerator else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise LabError(f"device={name} is not available on this machine: use auto or cpu") from error
    return device
