"""The diffusion transformer as `DiTTransformer2DModel` of the library diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.networks.dit import DiT

CLASS = "DiTTransformer2DModel"

#: The only value of a key that has a counterpart there.
_NEEDED = {"norm": "layer", "mlp": "gelu", "positions": "sinusoidal_2d", "mlp_ratio": 4.0}


def dit_config(network: DiT, node: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the config of `DiTTransformer2DModel` for a network.

    Args:
        network: the transformer.
        node: its config here.
        shape: [C, H, W] of its images.

    Raises:
        LabError: naming the key that has no counterpart there.
    """
    for key, value in _NEEDED.items():
        if node[key] != value:
            raise LabError(
                f"format=diffusers: {CLASS} has no counterpart of network.{key}={node[key]}; train with "
                f"network.{key}={value}"
            )
    classes = network.label_embedding.num_embeddings - 1 if network.condition is not None else 1
    return {
        "_class_name": CLASS,
        "num_attention_heads": node["heads"],
        "attention_head_dim": node["width"] // node["heads"],
        "in_channels": shape[0],
        "out_channels": network.out.out_features // node["patch_size"] ** 2,
        "num_layers": node["depth"],
        "dropout": node["dropout"],
        "attention_bias": True,
        "sample_size": shape[-1],
        "patch_size": node["patch_size"],
        "activation_fn": "gelu-approximate",
        "num_embeds_ada_norm": classes,
        "norm_type": "ada_norm_zero",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
    }


def dit_to_diffusers(network: DiT) -> dict[str, Tensor]:
    """Return the network's weights by the names that they have in `DiTTransformer2DModel`.

    There, each block embeds the time and the label anew, by weights of its own: here they are the same. A network
    without labels takes the label 0 there, whose embedding is zero.
    """
    weights = dict(network.state_dict())
    width, side = network.patches.out_features, network.patch_size
    embedding = weights.get("label_embedding.weight", torch.zeros(2, width))
    told = {
        "timestep_embedder.linear_1.weight": torch.cat(  # the cosines come first there
            weights["time_embedding.0.weight"].chunk(2, dim=1)[::-1], dim=1
        ),
        "timestep_embedder.linear_1.bias": weights["time_embedding.0.bias"],
        "timestep_embedder.linear_2.weight": weights["time_embedding.2.weight"],
        "timestep_embedder.linear_2.bias": weights["time_embedding.2.bias"],
        "class_embedder.embedding_table.weight": embedding,
    }
    found = {
        "pos_embed.proj.weight": weights["patches.weight"].reshape(width, -1, side, side),
        "pos_embed.proj.bias": weights["patches.bias"],
        "proj_out_1.weight": weights["modulation.weight"],
        "proj_out_1.bias": weights["modulation.bias"],
        "proj_out_2.weight": _channels_last(weights["out.weight"], side),
        "proj_out_2.bias": _channels_last(weights["out.bias"], side),
    }
    names = {
        "attended": "attn1.to_out.0",
        "mlp.0": "ff.net.0.proj",
        "mlp.2": "ff.net.2",
        "modulation": "norm1.linear",
    }
    for number in range(len(network.blocks)):
        ours, theirs = f"blocks.{number}", f"transformer_blocks.{number}"
        found |= {f"{theirs}.norm1.emb.{name}": value for name, value in told.items()}
        for kind in ("weight", "bias"):
            found |= {f"{theirs}.{there}.{kind}": weights[f"{ours}.{here}.{kind}"] for here, there in names.items()}
            parts = weights[f"{ours}.query_key_value.{kind}"].chunk(3)
            found |= {f"{theirs}.attn1.to_{name}.{kind}": part for name, part in zip("qkv", parts, strict=True)}
    return {name: value.clone() for name, value in found.items()}


def _channels_last(value: Tensor, side: int) -> Tensor:
    """Return rows [C · side², …] of a patch in the order [side², C]."""
    return value.reshape(-1, side * side, *value.shape[1:]).transpose(0, 1).flatten(0, 1)
