"""Read models that other programs have written. Their files are untrusted: tensors and plain values are read, no code.

- A folder of diffusers: a pipeline (`model_index.json`, `unet/`, `scheduler/`) or a `UNet2DModel` alone.
- A checkpoint of improved-diffusion or ADM, `.pt`, with the flags of its training.
- What ``scripts/export.py format=safetensors`` has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.exchange import diffusers_unet
from diffusion_lab.exchange.adm import adm_model, read_flags
from diffusion_lab.exchange.diffusers_scheduler import scheduler_choices
from diffusion_lab.exchange.foreign_model import ForeignModel
from diffusion_lab.exchange.own_export import CONFIG, WEIGHTS, own_model
from diffusion_lab.machine.bounded_read import open_bounded, read_json
from diffusion_lab.training.checkpoint_io import read_weights

#: The endings of files that may hold weights of other programs.
_ENDINGS = (".pt", ".pth", ".bin", ".safetensors")
#: The files in which diffusers keeps weights, the first that is there.
_DIFFUSERS_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def is_foreign(path: Path) -> bool:
    """Return whether a path is of a model that this module reads, and of no run."""
    if path.is_dir():
        return (
            any((path / name).is_file() for name in ("model_index.json", "config.json", CONFIG))
            and not (path / "config.yaml").exists()
        )
    return path.is_file() and path.suffix in _ENDINGS


def read_foreign(path: Path, flags: str | None = None) -> ForeignModel:
    """Read a foreign model.

    Args:
        path: for which `is_foreign` holds.
        flags: of a checkpoint of improved-diffusion or ADM, as they were typed for its training.

    Raises:
        LabError: naming the file, and what in it has no counterpart here.
    """
    if flags is not None and path.is_dir():
        raise LabError(f"{path} says itself what its weights are of: flags are for a checkpoint of ADM")
    try:
        if (path / CONFIG).is_file():
            return own_model(read_json(path / CONFIG), _read_weights(path / WEIGHTS))
        if path.is_dir():
            return _diffusers_model(path)
        if flags is None:
            raise LabError(
                "it holds weights alone: say what they are of by the flags of its training with improved-diffusion or "
                "ADM, as flags='--image_size 64 --num_channels 128 …'"
            )
        return adm_model(read_flags(flags), _read_weights(path))
    except LabError as error:
        raise error if str(error).startswith(str(path)) else LabError(f"{path}: {error}") from error
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise LabError(f"{path} is damaged: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error


def _diffusers_model(path: Path) -> ForeignModel:
    """Return the model of a folder of diffusers; without a scheduler it has that of DDPM."""
    folder = path / "unet" if (path / "unet").is_dir() else path
    config = read_json(folder / "config.json")
    if (name := config.get("_class_name")) != diffusers_unet.CLASS:
        raise LabError(f"{folder / 'config.json'} is of {name!r}: {diffusers_unet.CLASS} has a counterpart here")
    scheduler = read_json(path / "scheduler" / "scheduler_config.json")
    choices = scheduler_choices(scheduler) if scheduler else scheduler_choices({"_class_name": "DDPMScheduler"})
    weights = _read_weights(
        next((folder / file for file in _DIFFUSERS_WEIGHTS if (folder / file).exists()), folder / _DIFFUSERS_WEIGHTS[0])
    )
    size = config.get("sample_size")
    return ForeignModel(
        kind="diffusers",
        shape=(config.get("in_channels", 3), size, size),  # type: ignore[arg-type]  # checked by `unet_node`
        num_classes=config.get("num_class_embeds"),
        network=diffusers_unet.unet_node(config),
        choices=choices,
        weights_of=lambda network: diffusers_unet.unet_from_diffusers(network, config, weights),
    )


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors in a file by name, as float32.

    Raises:
        LabError: naming the file, if it is missing, damaged or holds anything else.
    """
    if path.is_symlink():
        raise LabError(
            f"{path} is a link, as in a cache of the Hub: download with `hf download … --local-dir <folder>`"
        )
    if path.suffix != ".safetensors":
        return {name: value.float() for name, value in read_weights(path).items()}
    try:
        with open_bounded(path) as file:
            found: dict[str, Any] = load_safetensors(file.read())
    except FileNotFoundError as error:
        raise LabError(f"there is no file {path}") from error
    except SafetensorError as error:
        raise LabError(f"{path} is damaged: {error}") from error
    return {name: value.float() for name, value in found.items()}
