"""Put stored weights into a module, if they are its own."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from diffusion_lab.errors import LabError


def load_weights(module: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Load stored weights into `module`; `where` is their file.

    Raises:
        LabError: naming the first weight that does not fit.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    stored = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(expected.keys() | stored.keys()):
        if expected.get(name) != stored.get(name):
            raise LabError(
                f"{where} is of another network: {name} is {stored.get(name, 'absent')} there, and "
                f"{expected.get(name, 'absent')} here (network.* and data.* decide)"
            )
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise LabError(
            f"{where} is damaged: its weights cannot be loaded ({' '.join(str(error).split())[:200]})"
        ) from error
