"""The device that tensors live on."""

from __future__ import annotations

import torch

from diffusion_lab.errors import LabError


def torch_device(name: str) -> torch.device:
    """The device called `name`.

    Raises:
        LabError: if it is not here.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return torch.device(accelerator.type if accelerator else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise LabError(f"device={name} is not available here: take auto or cpu") from error
    return device
