"""Keep a model that another program has trained as a run, so that everything that reads runs reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diffusion_lab import console
from diffusion_lab.config.build import build, recordable
from diffusion_lab.config.compose import composed
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.errors import LabError
from diffusion_lab.exchange.foreign_model import ForeignModel
from diffusion_lab.exchange.read_foreign import read_foreign
from diffusion_lab.machine.allocation_limit import allocation_limit
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import Manifest, weights_hash
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs.load_weights import load_weights
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO

#: The folder of runs that foreign models are kept in.
NAME = "imported"


def adopted(path: Path, flags: str | None) -> RunFolder:
    """Return the run folder of a foreign model, which is made at the first call, and found again later.

    Args:
        path: for which `is_foreign` holds.
        flags: see `read_foreign`.

    Raises:
        LabError: naming the file, and what in it has no counterpart here.
    """
    model = read_foreign(path, flags)
    try:
        settings = recordable(_settings(model, path))
        with torch.random.fork_rng(), allocation_limit():
            parts = build(settings)
    except LabError as error:
        raise error if str(error).startswith(str(path)) else LabError(f"{path}: {error}") from error
    weights = loadable(model, parts.network, path)
    load_weights(parts.module, weights, path)
    origin = {"weights": weights_hash(weights), "kind": model.kind}
    config = _lasting(settings.as_node())
    for file in sorted(Path(settings.paths.output_dir, NAME).glob("*/config.yaml")):
        if _keeps(file.parent, origin, config):
            return RunFolder.open(file.parent)
    run = RunFolder.create(settings.paths.output_dir, NAME)
    with run.held():
        run.write_config(settings.as_node(), [])
        manifest = Manifest(run, settings.seed)
        state = {"state_dict": weights, "global_step": 0, "epoch": 0}
        AtomicCheckpointIO().save_checkpoint(state, run.path / "checkpoints" / "last.ckpt")
        parameters = sum(parameter.numel() for parameter in parts.module.parameters())
        manifest.add(imported=origin, parameters=parameters, steps=0)
        manifest.end_session("finished")
    console.current().note(f"{shown(path)}, a model of {model.kind}, is kept as the run {shown(run.path)}")
    return run


def loadable(model: ForeignModel, network: torch.nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a foreign model for the module of a run with this network.

    Raises:
        LabError: naming the file, and the weight that does not fit.
    """
    try:
        return model.weights_of(network)
    except (RuntimeError, ValueError, IndexError) as error:
        raise LabError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
    except LabError as error:
        raise LabError(f"{path}: {error}") from error


def _settings(model: ForeignModel, path: Path) -> TrainConfig:
    """Return the settings of the run that the model would be of."""
    cfg, _ = composed("train", model.options, "train")
    node = trusted(model.node(read_settings(TrainConfig, cfg).as_node()), path)
    name = {"name": NAME, "tags": [model.kind.replace(" ", "-")], "notes": f"from {path.resolve().name}"}
    return read_settings(TrainConfig, node | name)


def _keeps(folder: Path, origin: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Return whether a run folder is whole and keeps a model with these weights and this config."""
    try:
        run = RunFolder.open(folder)
        is_same = run.read_manifest().get("imported") == origin and _lasting(run.read_config()) == config
    except LabError:  # it is damaged
        return False
    return is_same and (folder / "checkpoints" / "last.ckpt").is_file()


def _lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("paths", "notes", "tags")}
