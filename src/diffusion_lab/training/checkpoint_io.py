"""Writing checkpoints atomically, and reading them without running code in them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint only when the new one is complete and on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch reports a full disk as a RuntimeError of its zip writer.
            kept = "; the previous one is intact" if path.exists() else ""
            raise LabError(f"cannot write the checkpoint {path}: {_one_line(error)}{kept}") from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint that holds tensors and plain containers; one that holds code is refused, and the code not run.

    Raises:
        LabError: naming the file, if it is missing, damaged or holds anything else.
    """
    if not path.is_file():
        raise LabError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not verify the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise LabError(f"{path} is damaged: the checksum of {damaged} in it is wrong")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other programs, which are refused below
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise LabError(f"{path} is damaged, or holds more than tensors and plain values: it was not loaded") from error
    except LabError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise LabError(f"{path} is damaged or not a checkpoint: {_one_line(error)}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise LabError(f"{path} is not a checkpoint of this project: it has no state_dict")
    return checkpoint


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
