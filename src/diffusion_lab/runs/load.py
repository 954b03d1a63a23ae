"""A run folder, read again. It is untrusted: see `run_folder.trust`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from diffusion_lab.config.build import Parts, build
from diffusion_lab.errors import LabError
from diffusion_lab.machine.devices import torch_device
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path
from diffusion_lab.training.ema import KEY as EMA_KEY


class Run:
    """A trained run, ready to draw from.

    Attributes:
        folder: where it lies.
        cfg: its config.
        parts: its network and all that goes with it, on `device`.
        step: how many optimizer steps its weights have seen.
    """

    def __init__(self, folder: RunFolder, cfg: DictConfig, parts: Parts, step: int) -> None:
        self.folder = folder
        self.cfg = cfg
        self.parts = parts
        self.step = step

    def sample(self, num_samples: int, seed: int = 0, **options: Any) -> Tensor:
        """[num_samples, C, H, W] float32 in [−1, 1], on the CPU; for `options` see `Pipeline.sample`."""
        return self.parts.pipeline.sample(num_samples, seed, **options)


def load_run(
    path: str | Path,
    checkpoint: str = "last",
    device: str = "auto",
    changes: DictConfig | None = None,
    weights: Literal["ema", "raw"] = "ema",
) -> Run:
    """Load a finished or interrupted run.

    Args:
        path: the run folder.
        checkpoint: ``last``, ``best``, or the path of a file.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``mps`` or any that torch knows.
        changes: merged into the run's config, to draw with another sampler, say.
        weights: ``ema``, their average where the run keeps one; or ``raw``, those that training goes on with.

    Raises:
        LabError: naming what is missing, damaged or not to be trusted.
    """
    folder = RunFolder.open(path)
    cfg = trusted(folder.read_config(), folder.path / "config.yaml")
    if changes is not None:
        cfg = merged(cfg, changes)
    where = named_checkpoint(folder, checkpoint)
    state = read_checkpoint(where)
    with torch.random.fork_rng():
        parts = build_recorded(cfg, folder)
    average = state.get(EMA_KEY, {}).get("weights") if weights == "ema" else None
    load_weights(parts.module, average or state["state_dict"], where)
    parts.network.to(torch_device(device))
    return Run(folder, cfg, parts, int(state.get("global_step", 0)))


def merged(cfg: DictConfig, changes: DictConfig) -> DictConfig:
    """`cfg` with `changes`; a node that names another target replaces the old one whole."""
    cfg = OmegaConf.create(OmegaConf.to_container(cfg))  # type: ignore[assignment]
    OmegaConf.set_struct(cfg, False)
    for name, node in changes.items():
        if isinstance(node, DictConfig) and "_target_" not in node:
            cfg[name] = OmegaConf.merge(cfg[name], node)
        else:
            cfg[name] = node
    return cfg


def build_recorded(cfg: DictConfig, folder: RunFolder) -> Parts:
    """Build from a recorded config; a key it lacks is named."""
    try:
        return build(cfg)
    except KeyError as error:
        raise LabError(f"{folder.path / 'config.yaml'} is damaged: it has no key {error}") from error


def named_checkpoint(folder: RunFolder, checkpoint: str) -> Path:
    """The file that ``last``, ``best`` or a path stands for.

    Raises:
        LabError: naming what there is, if it does not exist.
    """
    path = checkpoint_path(folder.path, checkpoint) if checkpoint in ("last", "best") else Path(checkpoint)
    if not path.is_file():
        there = sorted(p.stem for p in (folder.path / "checkpoints").glob("*.ckpt"))
        has = f"it has {', '.join(there)}" if there else "it has none yet"
        raise LabError(f"checkpoint={checkpoint}: the run has no {path}; {has}")
    return path


def load_weights(module: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Put stored weights into `module`.

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
    module.load_state_dict(weights)
