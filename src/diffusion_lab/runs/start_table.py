"""The table that a run starts with: what runs, on what, and for how long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from diffusion_lab.config.build import Parts
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.console import Row, duration
from diffusion_lab.data import Stored, count_batches
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.environment import processor
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.training.time_limit import seconds


def table(settings: TrainConfig, parts: Parts, trainer: pl.Trainer, folder: RunFolder) -> list[Row]:
    """The rows, from what has been built. The data must be there."""
    return [
        _data(parts),
        _network(parts),
        _process(parts),
        _objective(parts),
        _optimizer(settings.optimizer),
        _device(trainer),
        Row("precision", str(trainer.precision), str(trainer.precision)),
        _steps(parts, trainer, settings.trainer.get("max_time")),
        Row("run folder", shown(folder.path), str(folder.path)),
    ]


def count_flops(parts: Parts) -> int:
    """Floating-point operations of the network's forward pass for one item of data; a multiply-add is two.

    Convolutions, matrix products and attention are counted, nothing else. Neither torch's generator nor the
    network is changed.
    """
    network = parts.network
    device = next(network.parameters()).device
    x = parts.process.prior(parts.pipeline.shape, Noise(torch.zeros(1, dtype=torch.int64, device=device), 0))
    time = torch.ones(1, dtype=torch.float64, device=device)
    condition = None if parts.pipeline.labels is None else torch.zeros(1, dtype=torch.int64, device=device)
    modes = {module: module.training for module in network.modules()}
    counter = FlopCounterMode(display=False)
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), counter:
            Denoiser(network, parts.module.denoiser.parameterization).raw(x, time, condition)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return counter.get_total_flops()


def _data(parts: Parts) -> Row:
    parts.data.setup()
    data = parts.data
    assert data.train is not None
    assert data.val is not None
    train, val, shape = len(data.train), len(data.val), list(data.shape)
    text = f"{_name(data)}: {train:,} {data.item}s to train on, {val:,} to validate with, {_product(shape)}; "
    text += f"batches of {data.batch_size}"
    if isinstance(data.train.data, Stored):
        text += " from disk"
    return Row(
        "data",
        text,
        {"name": _name(data), "train": train, "validation": val, data.item: shape, "batch_size": data.batch_size},
    )


def _network(parts: Parts) -> Row:
    name, flops = _name(parts.network), count_flops(parts)
    parameters = sum(p.numel() for p in parts.module.parameters())
    of_codec = sum(p.numel() for p in parts.module.codec.parameters())
    text = f"{name}: {parameters:,} parameters, {_flops(flops)} per {parts.data.item} (a multiply-add is 2)"
    if of_codec:
        text += f"; {of_codec:,} of the parameters are those of {_name(parts.module.codec)}"
    return Row("network", text, {"name": name, "parameters": parameters, f"flops_per_{parts.data.item}": flops})


def _process(parts: Parts) -> Row:
    schedule = parts.process.schedule
    text = f"{_name(parts.process)}, {_name(schedule)}"
    text += ", continuous" if schedule.steps is None else f", T = {schedule.steps:,}"
    return Row("process", text, {"name": _name(parts.process), "schedule": _name(schedule), "T": schedule.steps})


def _objective(parts: Parts) -> Row:
    objective, meaning = _name(parts.module.objective), _name(parts.module.denoiser.parameterization)
    text = f"{objective}, the network predicts {meaning}"
    return Row("objective", text, {"name": objective, "parameterization": meaning})


def _optimizer(optimizer: Mapping[str, Any]) -> Row:
    name, lr = optimizer["_target_"].rpartition(".")[2], optimizer.get("lr")
    return Row("optimizer", name if lr is None else f"{name}, learning rate {lr:g}", {"name": name, "lr": lr})


def _device(trainer: pl.Trainer) -> Row:
    kind = trainer.strategy.root_device.type
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(trainer.strategy.root_device) if kind == "cuda" else processor()
    count = trainer.world_size
    text = name if kind == "cuda" else f"{'CPU' if kind == 'cpu' else kind.upper()} ({name})"
    if kind == "cpu":
        text += f", {threads} thread{'s' * (threads > 1)}"
    text += f", {count} process{'es' * (count > 1)}"
    return Row("device", text, {"type": kind, "name": name, "threads": threads, "processes": count})


def _steps(parts: Parts, trainer: pl.Trainer, max_time: Any) -> Row:
    per_epoch = steps_per_epoch(parts, trainer)
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else math.inf
    limit = trainer.max_steps if trainer.max_steps != -1 else math.inf
    total = min(epochs * per_epoch, limit)
    facts: dict[str, Any] = {"total": total, "per_epoch": per_epoch}
    end = ""
    if not math.isinf(time := seconds(max_time)):
        facts["seconds"], end = time, f", or as many as {duration(time)} of training allow"
    if math.isinf(total):
        return Row("steps", f"{per_epoch:,} an epoch{end or ', without end'}", facts)
    passes = total / per_epoch if per_epoch else 0.0
    text = f"{total:,} ({passes:.4g} epoch{'s' * (passes != 1)} of {per_epoch:,}){end}"
    return Row("steps", text, facts | {"epochs": passes})


def steps_per_epoch(parts: Parts, trainer: pl.Trainer) -> int:
    """Optimizer steps in an epoch, on all processes together."""
    train, accumulate = parts.data.train, trainer.accumulate_grad_batches
    assert train is not None
    batches = accumulate * count_batches(len(train), parts.data.batch_size, trainer.world_size * accumulate)
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return math.ceil(batches / accumulate)


def _name(part: nn.Module | object) -> str:
    return type(part).__name__


def _product(sizes: list[int]) -> str:
    return "×".join(map(str, sizes))


def _flops(count: int) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}FLOPs"
    return f"{count:,} FLOPs"
