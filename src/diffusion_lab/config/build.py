"""From a composed config to the parts of a run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from diffusion_lab.config.annotations import type_hints
from diffusion_lab.config.instantiate import make, make_one
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.tree import options
from diffusion_lab.data import DataModule
from diffusion_lab.errors import LabError
from diffusion_lab.objectives import Weight
from diffusion_lab.parameterizations import block_size, condition_kind
from diffusion_lab.processes import Process
from diffusion_lab.sampling import DenoiserTransform, Pipeline, TimeGrid
from diffusion_lab.schedules import Schedule
from diffusion_lab.training.module import DiffusionModule

#: The config groups of transforms of the denoiser, in the order in which they are applied to a prediction.
TRANSFORMS = ("guidance", "clip")


Settings = TypeVar("Settings", bound=TrainConfig)


@dataclass(frozen=True)
class Parts:
    """The objects that a run is made of."""

    data: DataModule
    process: Process
    network: nn.Module
    module: DiffusionModule
    pipeline: Pipeline


def recordable(settings: Settings) -> Settings:
    """Return the settings as a run records them: with absolute paths, and with what the data finds out by itself.

    Raises:
        LabError: naming a key of the data that does not fit, or a text that could not be read again.
    """
    settings = settings.with_absolute_paths()
    data = make(settings.data, "data", _first_parts(settings), ("data_dir",))
    if isinstance(data, DataModule):
        settings = replace(settings, data={**settings.data, **data.found()})
    _check_texts(settings.as_node(), "")
    return settings


def build(settings: TrainConfig) -> Parts:
    """Build everything but the trainer. Initial weights follow from torch's global generator.

    A constructor's argument that carries the name of an earlier part (``data``, ``schedule``, ``process``, ``codec``,
    ``parameterization``), of something that one of these provides (``image_size``, ``num_classes``, …), or is ``seed``
    or ``data_dir``, is filled in. For samplers, ``length`` is that of a block where the network sees blocks, and
    ``context`` the one of the data.

    Raises:
        LabError: naming the key that does not fit.
    """
    node = settings.as_node()
    parts = _first_parts(settings)
    kinds = {
        "data": DataModule,
        "schedule": Schedule,
        "grid": TimeGrid,
        "weight": Weight,
        **type_hints(Pipeline),
        **type_hints(DiffusionModule),
    }

    def add(name: str) -> Any:
        kind = DenoiserTransform if name in TRANSFORMS else kinds.get(name, Any)
        fixed = parts.keys() - {"seed"}
        part = parts[name] = make_one(node[name], name, kind, parts, fixed)
        if hasattr(part, "provides"):
            parts.update(part.provides())
        return part

    data = add("data")
    parts["num_classes"] = data.num_classes
    add("schedule")
    codec = add("codec")
    process = add("process")
    parameterization = add("parameterization")
    if "in_channels" in parts:
        parts["out_channels"] = parts["in_channels"] * parameterization.outputs_per_channel
    # Convolutions run faster with the channels innermost, on the CPU and on GPUs.
    network = add("network").to(memory_format=torch.channels_last)
    if condition_kind(network) == "label" and data.num_classes is None:
        raise LabError(f"network={type(network).__name__} takes labels, and data={type(data).__name__} has none")
    parts["batch_size"] = data.batch_size
    time_sampling = add("time_sampling")
    if node["weight"]:
        add("weight")
    objective = add("objective")
    if node["weight"] and "weight" not in inspect.signature(type(objective)).parameters:
        raise LabError(f"objective={type(objective).__name__} has weights of its own: take weight=none")
    if not objective.trains_codec and any(True for _ in codec.parameters()):
        name, learned = type(objective).__name__, type(codec).__name__
        raise LabError(
            f"objective={name} would make all codes alike, since codec={learned} learns them: take objective=embedding"
        )
    if objective.needs_uniform_times and not time_sampling.uniform:
        name, times = type(objective).__name__, type(time_sampling).__name__
        raise LabError(
            f"objective={name} is a mean over uniform times, which time_sampling={times} does not have: take "
            "time_sampling=uniform, stratified or importance"
        )
    if block_size(network) is not None and not objective.by_blocks:
        raise LabError(f"objective={type(objective).__name__} trains no network that sees blocks (network.block_size)")
    add("grid")
    if "length" in parts:
        parts["context"] = parts["length"]
        parts["length"] = block_size(network) or parts["length"]  # what a sampler draws at a time
    sampler = add("sampler")
    if block_size(network) is not None and not sampler.by_blocks:
        raise LabError(
            f"sampler={type(sampler).__name__} draws whole sequences, and network.block_size={block_size(network)} "
            "sees blocks: take sampler=blocks, which draws each block by another sampler (sampler.within)"
        )
    for group in TRANSFORMS:
        if node[group] and "_target_" not in node[group]:
            keys = ", ".join(f"{group}.{key}" for key in node[group])
            raise LabError(f"{keys}: no option of {group} is chosen; choose one of {', '.join(options(group))} first")
    transforms = [add(group) for group in TRANSFORMS if node[group]]
    optimizer, lr_schedule = add("optimizer"), add("lr_schedule")
    module = DiffusionModule(
        network,
        parameterization,
        codec,
        objective,
        time_sampling,
        optimizer,
        lr_schedule,
        node["seed"],
        data.num_classes,
    )
    shape = codec.code_shape(data.shape)
    pipeline = Pipeline(network, parameterization, process, codec, sampler, transforms, shape, data.num_classes)
    return Parts(data, process, network, module, pipeline)


def _check_texts(node: Any, key: str) -> None:
    """Raise LabError, naming the key, if a text in a config node could not be read again from a run folder."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            _check_texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _check_texts(value, f"{key}[{index}]")
    elif isinstance(node, str) and ("${" in node or not _is_utf_8(node)):
        raise LabError(f"{key}={node}: a run cannot record a text that has ${{ in it or is no UTF-8: change it")


def _is_utf_8(text: str) -> bool:
    """Return whether a text, such as the name of a file, can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _first_parts(settings: TrainConfig) -> dict[str, Any]:
    return {"seed": settings.seed, "data_dir": settings.paths.data_dir}
