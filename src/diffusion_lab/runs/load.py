"""Load a run from its folder. The folder is untrusted: see `run_folder.trust`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.config.annotations import fits
from diffusion_lab.config.build import Parts, build
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import existing_data_dir, read_settings
from diffusion_lab.config.value_checks import at_least, below_2_to_32
from diffusion_lab.errors import LabError
from diffusion_lab.exchange.read_foreign import is_foreign
from diffusion_lab.machine.allocation_limit import allocation_limit
from diffusion_lab.machine.devices import torch_device
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs.adopt import adopted
from diffusion_lab.runs.chosen_weights import chosen_weights
from diffusion_lab.runs.load_weights import load_weights
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path
from diffusion_lab.training.module import DiffusionModule

#: Bytes that tables of the schedule and the like may take, besides a network's weights.
_OTHER_TENSORS = 256 * 2**20


class Run:
    """A trained run that samples are drawn from.

    Attributes:
        folder: its run folder.
        settings: its settings.
        parts: what was built from them; the network is on the device that was asked for.
        step: the number of optimizer steps that its weights have seen.
        weights: which weights they are: ``raw``, ``ema``, or the key of an average.
        weights_error: of an average that was made of stored ones, the error of its profile, as a share; else None.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: TrainConfig,
        parts: Parts,
        step: int,
        weights: str,
        weights_error: float | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.parts = parts
        self.step = step
        self.weights = weights
        self.weights_error = weights_error

    def sample(self, num_samples: int, seed: int = 0, **options: Any) -> Tensor:
        """Return samples [num_samples, *D] on the CPU, float32 in [−1, 1] for images; see `Pipeline.draw`.

        Raises:
            ValueError: naming the argument that is no whole number, or out of its range.
        """
        for name, number, least in (("num_samples", num_samples, 1), ("seed", seed, 0)):
            if not fits(number, int):
                raise ValueError(f"{name} must be a whole number, got {number!r}")
            at_least(least, name, number)
        below_2_to_32("seed", seed)
        return self.parts.pipeline.sample(num_samples, seed, **options)


def load_run(
    path: str | Path,
    checkpoint: str = "last",
    device: str = "auto",
    changes: Mapping[str, Any] | None = None,
    weights: str = "ema",
    flags: str | None = None,
) -> Run:
    """Load a run; `diffusion_lab.load_run`, which also takes overrides, says what the arguments mean.

    A foreign model is kept as a run (see `adopted`); changes are merged into the config level by level (see `merged`).
    """
    foreign = is_foreign(Path(path))
    if flags is not None and not foreign and Path(path).exists():
        raise LabError(f"flags are for a checkpoint of improved-diffusion or ADM, and {path} is none")
    folder = adopted(Path(path), flags) if foreign else RunFolder.open(path)
    node = trusted(folder.read_config(), folder.path / "config.yaml")
    settings = recorded_settings(folder, merged(node, changes or {}))
    # Data is read where it lies here, and not looked for where the run was trained.
    paths = replace(settings.paths, data_dir=existing_data_dir(settings.paths.data_dir))
    settings = replace(settings, paths=paths)
    file = named_checkpoint(folder, checkpoint)
    state = read_checkpoint(file)
    with torch.random.fork_rng(), errors_of(folder, changes or {}), weights_limit(file):
        parts = build(settings)
    names = {name for name, _ in parts.module.named_parameters(remove_duplicate=False)}
    chosen, key, error = chosen_weights(weights, state, file, names)
    load_weights(parts.module, chosen, file)
    parts.module.to(torch_device(device))
    return Run(folder, settings, parts, int(state.get("global_step", 0)), key, error)


def recorded_settings(folder: RunFolder, node: Mapping[str, Any]) -> TrainConfig:
    """Return the settings that a recorded config, perhaps with changes, holds.

    Raises:
        LabError: naming the file and the key that does not fit.
    """
    with errors_of(folder):
        return read_settings(TrainConfig, node)


@contextmanager
def errors_of(folder: RunFolder, typed: Iterable[str] = ()) -> Iterator[None]:
    """Let errors about settings name the file that recorded them, but for those below the keys that were `typed`."""
    try:
        yield
    except LabError as error:
        if str(error).startswith(tuple(f"{key}{end}" for key in typed for end in ".=")):
            raise
        raise LabError(f"{folder.path / 'config.yaml'}: {error}") from error


def weights_limit(checkpoint: Path) -> AbstractContextManager[None]:
    """Refuse to build a network that is far larger than the weights in `checkpoint`, before it takes memory.

    A run's network has the size of the weights that are loaded into it.
    """
    return allocation_limit(4 * checkpoint.stat().st_size + _OTHER_TENSORS, f"go with the weights in {checkpoint.name}")


def merged(node: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `node` with `changes` merged in, level by level.

    A change that names a `_target_`, or is empty (the option ``none`` of a group), replaces the whole node.
    """
    result = dict(node)
    for name, change in changes.items():
        before = node.get(name)
        if isinstance(change, Mapping) and isinstance(before, Mapping) and change and "_target_" not in change:
            result[name] = merged(before, change)
        else:
            result[name] = change
    return result


def named_checkpoint(folder: RunFolder, checkpoint: str) -> Path:
    """Return the file that ``last``, ``best`` or a path names.

    Raises:
        LabError: if it does not exist, naming the checkpoints that do.
    """
    path = checkpoint_path(folder.path, checkpoint) if checkpoint in ("last", "best") else Path(checkpoint).resolve()
    if not path.is_file():
        there = sorted(p.stem for p in (folder.path / "checkpoints").glob("*.ckpt"))
        has = f"it has {', '.join(there)}" if there else "it has none yet"
        guess = f"; did you mean checkpoint={path.stem}?" if path.stem in ("last", "best") else ""
        raise LabError(f"checkpoint={checkpoint}: the run has no {path}; {has}{guess}")
    return path


def _same_kind(value: Any, usual: Any) -> bool:
    """Return whether a recorded setting of an optimizer is of the kind of the usual one."""
    if isinstance(usual, bool) or usual is None:
        return value is None or isinstance(value, bool)
    if isinstance(usual, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(usual, tuple | list):
        return (
            isinstance(value, tuple | list)
            and len(value) == len(usual)
            and all(_same_kind(a, b) for a, b in zip(value, usual, strict=True))
        )
    return isinstance(value, type(usual))


#: Tensors of an optimizer's state that have the shape of their parameter.
_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")


def check_optimizer_states(module: DiffusionModule, stored: list[dict[str, Any]], where: Path) -> None:
    """Load stored states into an optimizer of the kind that trains `module`, which is then thrown away.

    Raises:
        LabError: naming their file, and the first moment that has not the shape of its parameter.
    """
    parameters = list(module.parameters())
    for state in stored:
        optimizer = module.optimizer(parameters)
        try:
            optimizer.load_state_dict(state)
            for group in state["param_groups"]:
                for name, usual in {**optimizer.defaults, "initial_lr": 0.0}.items():
                    if name in group and not _same_kind(group[name], usual):
                        raise ValueError(f"{name} is of another kind")
            restored = list(optimizer.state.items())
            for parameter, moments in restored:
                for name in _MOMENTS:
                    if name in moments and moments[name].shape != parameter.shape:
                        raise ValueError(f"{name} has the shape {list(moments[name].shape)} and not that of its weight")
        except Exception as error:  # a state that was changed makes torch raise anything
            text = " ".join(str(error).split())
            raise LabError(f"{where} is damaged: its optimizer cannot be restored ({text})") from error
