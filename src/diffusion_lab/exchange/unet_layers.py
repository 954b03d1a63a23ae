"""What the layers of the U-Net are called here, in diffusers and in the code of ADM.

The three have the same architecture, and each names its layers in its own way. Attention differs: diffusers keeps
queries, keys and values apart, and ADM has convolutions of one pixel in the place of linear layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from diffusion_lab.networks.unet import ConvResample, ResidualBlock, SelfAttention, UNet

Library = Literal["diffusers", "adm"]
Kind = Literal["plain", "time", "labels", "query_key_value"]

#: The layers of a residual block: here, in diffusers, in ADM.
_BLOCK = (
    ("norm_1", "norm1", "in_layers.0"),
    ("conv_1", "conv1", "in_layers.2"),
    ("time", "time_emb_proj", "emb_layers.1"),
    ("norm_2", "norm2", "out_layers.0"),
    ("conv_2", "conv2", "out_layers.3"),
    ("skip", "conv_shortcut", "skip_connection"),
)
_ATTENTION = (
    ("norm", "group_norm", "norm"),
    ("query_key_value", "to_q to_k to_v", "qkv"),
    ("out", "to_out.0", "proj_out"),
)
#: The layers at both ends.
_ENDS = (
    ("time_embedding.0", "time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.2", "time_embedding.linear_2", "time_embed.2"),
    ("label_embedding", "class_embedding", "label_emb"),
    ("first", "conv_in", "input_blocks.0.0"),
    ("norm", "conv_norm_out", "out.0"),
    ("out", "conv_out", "out.2"),
)


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        kind: ``query_key_value`` of attention; ``time``, the first layer of the time; ``labels``, their embedding.
        ours, theirs: the beginnings of the names of its weights; in diffusers, queries, keys and values have three.
        heads: of attention; 0 for other layers.
        module: here.
    """

    kind: Kind
    ours: str
    theirs: tuple[str, ...]
    heads: int
    module: nn.Module


def unet_layers(network: UNet, library: Library) -> Iterator[Layer]:
    """Yield each layer that has weights, from the time embedding to the output."""
    which = 1 if library == "diffusers" else 2
    kinds: dict[str, Kind] = {"time_embedding.0": "time", "label_embedding": "labels"}
    for names in _ENDS:
        if hasattr(network, names[0].partition(".")[0]):
            module = network.get_submodule(names[0])
            yield Layer(kinds.get(names[0], "plain"), names[0], (names[which],), 0, module)
    for ours, theirs in _blocks(network, library):
        module = network.get_submodule(ours)
        if isinstance(module, ResidualBlock):
            for names in _BLOCK:
                layer: nn.Module | None = getattr(module, names[0])
                if layer is not None:
                    yield Layer("plain", f"{ours}.{names[0]}", (f"{theirs}.{names[which]}",), 0, layer)
        elif isinstance(module, SelfAttention):
            for names in _ATTENTION:
                called = tuple(f"{theirs}.{name}" for name in names[which].split())
                within: nn.Module = getattr(module, names[0])
                kind: Kind = "query_key_value" if names[0] == "query_key_value" else "plain"
                yield Layer(kind, f"{ours}.{names[0]}", called, module.heads, within)
        elif isinstance(module, ConvResample):
            yield Layer("plain", f"{ours}.conv", (theirs,), 0, module.conv)


def _blocks(network: UNet, library: Library) -> Iterator[tuple[str, str]]:
    """Yield the name of each block, attention and resampling here, and there."""
    return _blocks_of_diffusers(network) if library == "diffusers" else _blocks_of_adm(network)


def _blocks_of_diffusers(network: UNet) -> Iterator[tuple[str, str]]:
    for side, stages in (("down", network.down), ("up", network.up)):
        level = number = 0
        for index, stage in enumerate(stages):
            if resamples(stage):
                of_block = "" if isinstance(stage.block, ResidualBlock) else ".conv"
                yield f"{side}.{index}.block", f"{side}_blocks.{level}.{side}samplers.0{of_block}"
                level, number = level + 1, 0
            else:
                yield f"{side}.{index}.block", f"{side}_blocks.{level}.resnets.{number}"
                yield f"{side}.{index}.after", f"{side}_blocks.{level}.attentions.{number}"
                number += 1
    yield "middle.block", "mid_block.resnets.0"
    yield "middle.after", "mid_block.attentions.0"
    yield "after_middle", "mid_block.resnets.1"


def _blocks_of_adm(network: UNet) -> Iterator[tuple[str, str]]:
    for index, stage in enumerate(network.down):
        of_block = ".op" if resamples(stage) and not isinstance(stage.block, ResidualBlock) else ""
        yield f"down.{index}.block", f"input_blocks.{index + 1}.0{of_block}"
        yield f"down.{index}.after", f"input_blocks.{index + 1}.1"
    yield "middle.block", "middle_block.0"
    yield "middle.after", "middle_block.1"
    yield "after_middle", "middle_block.2"
    number, place = -1, 0
    for index, stage in enumerate(network.up):
        if resamples(stage):  # behind the block and the attention before it, in one group with them
            of_block = "" if isinstance(stage.block, ResidualBlock) else ".conv"
            yield f"up.{index}.block", f"output_blocks.{number}.{place}{of_block}"
        else:
            number, place = number + 1, 1 + isinstance(stage.after, SelfAttention)
            yield f"up.{index}.block", f"output_blocks.{number}.0"
            yield f"up.{index}.after", f"output_blocks.{number}.1"


def resamples(stage: nn.Module) -> bool:
    """Return whether a stage of the U-Net halves or doubles the image."""
    block = stage.block
    return not isinstance(block, ResidualBlock) or not isinstance(block.resample, nn.Identity)
