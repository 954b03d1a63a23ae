"""The residual U-Net as `UNet2DModel` of the library diffusers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_lab.errors import LabError
from diffusion_lab.exchange.unet_layers import resamples, unet_layers
from diffusion_lab.networks.unet import ConvResample, ResidualBlock, SelfAttention, UNet

CLASS = "UNet2DModel"

#: Settings of `UNet2DModel` that the U-Net here has no other value of.
_FIXED: dict[str, Any] = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "mid_block_type": "UNetMidBlock2D",
    "mid_block_scale_factor": 1,
    "add_attention": True,
    "class_embed_type": None,
}
#: The blocks of levels without attention, by how they halve and double the image.
_PLAIN = {"conv": ("DownBlock2D", "UpBlock2D"), "resnet": ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")}
_ATTENDS = ("AttnDownBlock2D", "AttnUpBlock2D")

#: The names of attention's layers in files of diffusers before version 0.18.
_EARLIER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def unet_config(network: UNet, node: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the config of `UNet2DModel` for a network.

    Args:
        network: the U-Net.
        node: its config here.
        shape: [C, H, W] of its images.

    Raises:
        LabError: naming the key that has no counterpart there.
    """
    for key, plain in (("patch_size", 1), ("fourier_features", []), ("time_scale", 1.0)):
        if (value := node.get(key, plain)) != plain:
            raise LabError(f"format=diffusers: {CLASS} has no counterpart of network.{key}={value}; {plain} goes there")
    groups = {module.num_groups for module in network.modules() if isinstance(module, nn.GroupNorm)}
    if len(groups) > 1:
        raise LabError(
            f"format=diffusers: {CLASS} normalizes in one number of groups, and this network in "
            f"{', '.join(map(str, sorted(groups)))}: train with network.norm_groups={max(_common(network))}"
        )
    heads = {
        module.query_key_value.in_features // module.heads
        for module in network.modules()
        if isinstance(module, SelfAttention)
    }
    if len(heads) > 1:
        raise LabError(
            f"format=diffusers: {CLASS} has attention heads of one width, and this network of "
            f"{', '.join(map(str, sorted(heads)))}: train with network.head_channels"
        )
    base, multipliers = node["base_channels"], node["channel_multipliers"]
    if multipliers[0] != 1:
        raise LabError(
            f"format=diffusers: {CLASS} has no counterpart of network.channel_multipliers={list(multipliers)}; "
            "the first must be 1"
        )
    sizes = [shape[-1] // 2**level for level in range(len(multipliers))]
    attends = [size in node["attention_sizes"] for size in sizes]
    resampling = node["learned_resampling"]
    kind = "resnet" if resampling is True else "conv"
    config: dict[str, Any] = {
        "_class_name": CLASS,
        "sample_size": shape[-1],
        "in_channels": network.first.in_channels,
        "out_channels": network.out.out_channels,
        "freq_shift": node.get("freq_shift", 1),
        "flip_sin_to_cos": False,
        "down_block_types": [_ATTENDS[0] if here else _PLAIN[kind][0] for here in attends],
        "up_block_types": [_ATTENDS[1] if here else _PLAIN[kind][1] for here in reversed(attends)],
        "block_out_channels": [base * multiplier for multiplier in multipliers],
        "layers_per_block": node["num_blocks"],
        "downsample_padding": 0 if resampling == "conv_ddpm" else 1,
        "downsample_type": kind,
        "upsample_type": kind,
        "dropout": node["dropout"],
        "act_fn": "silu",
        "attention_head_dim": min(heads),
        "norm_num_groups": min(groups),
        "attn_norm_num_groups": min(groups),
        "norm_eps": node.get("norm_eps", 1e-5),
        "resnet_time_scale_shift": "scale_shift" if node["scale_shift"] else "default",
    }
    if network.condition is not None:
        config["num_class_embeds"] = network.label_embedding.num_embeddings
    return config | _FIXED


def unet_to_diffusers(network: UNet) -> dict[str, Tensor]:
    """Return the network's weights by the names that they have in `UNet2DModel`."""
    weights = {}
    for layer in unet_layers(network, "diffusers"):
        for name, value in layer.module.state_dict().items():
            for theirs, part in zip(layer.theirs, value.chunk(len(layer.theirs)), strict=True):
                weights[f"{theirs}.{name}"] = part.clone()
    for side, stages in (("down", network.down), ("up", network.up)):
        places = [index for index, stage in enumerate(stages) if resamples(stage)]
        for level, index in enumerate(places):
            if not isinstance(stages[index].block, ResidualBlock | ConvResample):
                width = len(network.get_parameter(f"{side}.{index - 1}.block.conv_2.bias"))
                weights |= _plain_resampling(f"{side}_blocks.{level}.{side}samplers.0.conv", width, side)
    return weights


def unet_node(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config here of a `UNet2DModel`.

    Raises:
        LabError: naming the setting that has no counterpart here.
    """
    for key, value in _FIXED.items():
        if (there := config.get(key, value)) != value:
            raise LabError(f"{key}={there!r}: only {value!r} has a counterpart here")
    if (act := config.get("act_fn", "silu")) not in ("silu", "swish"):
        raise LabError(f"act_fn={act!r}: only 'silu', also called 'swish', has a counterpart here")
    widths, size = list(config["block_out_channels"]), config.get("sample_size")
    if not isinstance(size, int):
        raise LabError(f"sample_size={size!r}: a whole number is needed, the side of the images")
    if config.get("time_embedding_dim") not in (None, 4 * widths[0]):
        raise LabError(f"time_embedding_dim={config['time_embedding_dim']}: only {4 * widths[0]} has a counterpart")
    for key, least, most in (("layers_per_block", 1, 64), ("in_channels", 1, 4096), ("norm_num_groups", 1, 4096)):
        if type(number := config.get(key, least)) is not int or not least <= number <= most:
            raise LabError(f"{key}={number!r}: a whole number from {least} to {most} goes here")
    if min(widths) < 1 or any(width % widths[0] for width in widths):
        raise LabError(f"block_out_channels={widths}: each must be a multiple of the first")
    attends, kind = _levels(config)
    shift = config.get("resnet_time_scale_shift", "default")
    groups, of_middle = config.get("norm_num_groups", 32), config.get("attn_norm_num_groups")
    if shift not in ("default", "scale_shift") or (of_middle or (groups if shift == "default" else None)) != groups:
        raise LabError(
            f"resnet_time_scale_shift={shift!r} with attn_norm_num_groups={of_middle}: the attention in the middle is "
            f"normalized here in norm_num_groups={groups}, as everywhere"
        )
    padding = config.get("downsample_padding", 1)
    conv = {0: "conv_ddpm", 1: "conv"}.get(padding)
    if conv is None:
        raise LabError(f"downsample_padding={padding}: 0 or 1 goes here")
    return {
        "_target_": "diffusion_lab.networks.UNet",
        "base_channels": widths[0],
        "channel_multipliers": [width // widths[0] for width in widths],
        "num_blocks": config.get("layers_per_block", 2),
        "attention_sizes": [size // 2**level for level, here in enumerate(attends) if here],
        **_heads(config, widths, attends),
        "dropout": config.get("dropout", 0.0),
        "scale_shift": shift == "scale_shift",
        "learned_resampling": True if kind == "resnet" else conv,
        "norm_groups": groups,
        "norm_eps": config.get("norm_eps", 1e-5),
        "freq_shift": config.get("freq_shift", 0),
        "labels": config.get("num_class_embeds") is not None,
    }


def unet_from_diffusers(network: UNet, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a `UNet2DModel` by the names that they have in the module of a run.

    Args:
        network: built from `unet_node`.
        config: of the `UNet2DModel`.
        weights: its weights by name.

    Raises:
        LabError: naming a weight that is missing, left over or of another shape.
    """
    found, left = {}, dict(weights)
    for layer in unet_layers(network, "diffusers"):
        for name in layer.module.state_dict():
            parts = [_taken(left, f"{theirs}.{name}") for theirs in layer.theirs]
            # An earlier projection was a convolution of one pixel.
            value = torch.cat([part.flatten(1) if layer.heads and part.ndim > 1 else part for part in parts])
            if layer.kind == "time" and name == "weight" and config.get("flip_sin_to_cos", True):
                value = torch.cat(value.chunk(2, dim=1)[::-1], dim=1)  # the sines come first here
            if layer.kind == "labels":
                value = with_null_label(value)
            found[f"network.{layer.ours}.{name}"] = value
    if left:
        raise LabError(f"the weight {min(left)} has no counterpart here")
    return found


def with_null_label(embedding: Tensor) -> Tensor:
    """Return the embedding of labels [K, width] with that of the null label, which adds nothing: [K + 1, width]."""
    return torch.cat([embedding, torch.zeros_like(embedding[:1])])


def _taken(left: dict[str, Tensor], name: str) -> Tensor:
    earlier = name
    for now, before in _EARLIER.items():
        earlier = earlier.replace(f".{now}.", f".{before}.")
    for spelled in (name, earlier):
        if spelled in left:
            return left.pop(spelled)
    raise LabError(f"the weight {name} is missing")


def _heads(config: Mapping[str, Any], widths: list[int], attends: list[bool]) -> dict[str, Any]:
    """Return the keys of attention heads: `attention_head_dim` is their width, or None for a single head."""
    width = config.get("attention_head_dim", 8)
    if width is None:
        return {"heads": 1}
    if type(width) is not int or width < 1:
        raise LabError(f"attention_head_dim={width!r}: a whole number above 0, or null, goes here")
    too_narrow = [w for w, here in zip(widths, [*attends[:-1], True], strict=True) if here and w % width]
    if too_narrow:
        raise LabError(f"attention_head_dim={width} does not divide the {too_narrow[0]} channels of its level")
    return {"head_channels": width}


def _levels(config: Mapping[str, Any]) -> tuple[list[bool], str]:
    """Return which levels have attention, and how all halve and double the image: ``conv`` or ``resnet``.

    Raises:
        LabError: naming what is not the same on the way down and up, or at all levels.
    """
    sides = [list(config["down_block_types"]), list(config["up_block_types"])[::-1]]
    attends = [[block == attending for block in side] for side, attending in zip(sides, _ATTENDS, strict=True)]
    kinds: set[str] = set()
    for number, (side, key) in enumerate(zip(sides, ("downsample_type", "upsample_type"), strict=True)):
        of_block = {blocks[number]: kind for kind, blocks in _PLAIN.items()}
        of_block[_ATTENDS[number]] = config.get(key, "conv")
        if unknown := set(side) - set(of_block):
            raise LabError(f"{key.split('sample')[0]}_block_types has {min(unknown)}: {', '.join(of_block)} go here")
        kinds |= {of_block[block] for block in side[:-1]}  # the smallest level is neither halved nor doubled
    if attends[0] != attends[1]:
        raise LabError(f"up_block_types={sides[1][::-1]} must mirror down_block_types={sides[0]}")
    if not kinds <= {"conv"} and not kinds <= {"resnet"}:
        raise LabError(f"images are resampled by {' and '.join(sorted(map(str, kinds)))}: conv or resnet goes here")
    return attends[0], kinds.pop() if kinds else "conv"


def _common(network: UNet) -> list[int]:
    """Return the numbers of groups that each of the network's normalizations could have, up to 32."""
    channels = [module.num_channels for module in network.modules() if isinstance(module, nn.GroupNorm)]
    return [groups for groups in range(1, 33) if not any(count % groups for count in channels)]


def _plain_resampling(name: str, width: int, side: str) -> dict[str, Tensor]:
    """Return the convolution that averages 2×2 pixels on the way down, and leaves those that were repeated as they are.

    There, halving and doubling always go with a convolution of 3×3, that on the way down with stride 2.
    """
    weight = torch.zeros(width, width, 3, 3)
    each = torch.arange(width)
    if side == "down":
        weight[each, each, 1:, 1:] = 0.25
    else:
        weight[each, each, 1, 1] = 1.0
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(width)}
