"""From a composed config to the parts of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.values import accepted, fits, type_hints
from diffusion_lab.data import ImageDataModule
from diffusion_lab.errors import LabError
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import Pipeline
from diffusion_lab.training.module import DiffusionModule


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    data: ImageDataModule
    process: Gaussian
    network: nn.Module
    module: DiffusionModule
    pipeline: Pipeline


def build(settings: TrainConfig) -> Parts:
    """Build everything but the trainer. Initial weights follow from torch's global generator.

    Raises:
        LabError: naming the key that does not fit.
    """
    node = settings.as_node()
    parts: dict[str, Any] = {"seed": node["seed"]}

    kinds = {"data": ImageDataModule, **type_hints(Pipeline), **type_hints(DiffusionModule)}

    def add(name: str) -> Any:
        part = parts[name] = make(node[name], name, parts, parts.keys() - {"seed"})
        if name in kinds and not fits(part, kinds[name]):
            target = node[name].get("_target_", "none")
            raise LabError(f"{name}._target_={target}: it must make {accepted(kinds[name])}")
        return part

    data = add("data")
    parts |= {"image_size": data.image_size, "num_classes": data.num_classes}
    add("schedule")
    process = add("process")
    codec = add("codec")
    parameterization = add("parameterization")
    parts["in_channels"] = data.channels
    parts["out_channels"] = data.channels * parameterization.outputs_per_channel
    # Convolutions run faster with the channels innermost, on the CPU and on GPUs.
    network = add("network").to(memory_format=torch.channels_last)
    add("objective")
    sampler = add("sampler")
    optimizer, lr_schedule = add("optimizer"), add("lr_schedule")
    module = DiffusionModule(network, parameterization, codec, parts["objective"], optimizer, lr_schedule, node["seed"])
    shape = (data.channels, data.image_size, data.image_size)
    clip_x0 = node["sampling"]["clip_x0"]
    pipeline = Pipeline(network, parameterization, process, codec, sampler, shape, clip_x0)
    return Parts(data, process, network, module, pipeline)
