"""Networks of this project beside the same architectures of the library diffusers, in the same plain loops.

A pair has the same layers, and so parameters and operations that agree within 2 %, which is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import plain
from benchmarks.ceilings import flops_per_image
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.networks import DiT, UNet

#: The pairs, by the option of `network` in the config tree.
NAMES = ("unet", "dit")
#: How far parameters and operations of a pair may differ.
TOLERANCE = 0.02
_SHAPE = (1, plain.SIDE, plain.SIDE)
_CLASSES = 10
_WIDTHS = (32, 64, 64)
_WIDTH, _DEPTH, _HEADS, _PATCH = 192, 6, 3, 4


def ours(name: str) -> nn.Module:
    """Return the network of this project, laid out as a run lays it out."""
    if name == "unet":
        network: nn.Module = UNet(
            1, 1, plain.SIDE, base_channels=_WIDTHS[0], channel_multipliers=(1, 2, 2), num_blocks=1
        )
    else:
        network = DiT(1, 1, plain.SIDE, _CLASSES, _PATCH, _WIDTH, _DEPTH, _HEADS, labels=True)
    return network.to(memory_format=torch.channels_last)


def theirs(name: str) -> nn.Module:
    """Return the network of diffusers, laid out as it lays itself out."""
    return _TheirUNet() if name == "unet" else _TheirDiT()


class _TheirUNet(nn.Module):
    """`UNet2DModel` in the form of ADM: scale-shift time embedding, and residual blocks that resample."""

    def __init__(self) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        self.network: Any = UNet2DModel(
            sample_size=plain.SIDE,
            in_channels=1,
            out_channels=1,
            block_out_channels=_WIDTHS,
            layers_per_block=1,
            down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift",
            attention_head_dim=32,
            norm_num_groups=8,
        )

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.network(x, c_noise, return_dict=False)[0]


class _TheirDiT(nn.Module):
    """`DiTTransformer2DModel`, whose blocks share one embedding of time and label, as in the paper.

    Theirs has one for each block, which adds 13 % to its parameters at this width.
    """

    def __init__(self) -> None:
        from diffusers import DiTTransformer2DModel

        super().__init__()
        self.network: Any
        self.network = DiTTransformer2DModel(
            num_attention_heads=_HEADS,
            attention_head_dim=_WIDTH // _HEADS,
            in_channels=1,
            num_layers=_DEPTH,
            sample_size=plain.SIDE,
            patch_size=_PATCH,
            num_embeds_ada_norm=_CLASSES,
        )
        first, *others = self.network.transformer_blocks
        for block in others:
            block.norm1.emb = first.norm1.emb

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.network(x, c_noise, class_labels=labels, return_dict=False)[0]


def sizes(name: str) -> dict[str, tuple[float, float]]:
    """Return parameters, and operations per image of a forward pass and of a training step: theirs and ours.

    Ours are those of the layers of the architecture, one after the other: for what the network spares by convolving
    images before they are upsampled, see `spared`.

    Raises:
        RuntimeError: if a pair differs by more than 2 %.
    """
    pair = [theirs(name), ours(name)]
    with mock.patch("diffusion_lab.networks.unet.conv_of_upsampled", _plain_conv_of_upsampled):
        found = {
            "parameters": [float(sum(p.numel() for p in network.parameters())) for network in pair],
            "forward": [_flops(name, network, training=False) for network in pair],
            "training": [_flops(name, network, training=True) for network in pair],
        }
    for what, (a, b) in found.items():
        if abs(a / b - 1) > TOLERANCE:
            raise RuntimeError(f"{name}: {what} of diffusers and of this project differ: {a:,.0f} and {b:,.0f}")
    return {what: (a, b) for what, (a, b) in found.items()}


def spared(name: str) -> float:
    """Return the share of a forward pass's operations that our network does not need for the same result."""
    return 1 - _flops(name, ours(name), training=False) / sizes(name)["forward"][1]


def _flops(name: str, network: nn.Module, training: bool) -> float:
    condition = (torch.zeros(1, dtype=torch.int64),) if name == "dit" else ()
    return flops_per_image(network, _SHAPE, training, *condition)


def _plain_conv_of_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(functional.interpolate(x, scale_factor=2.0), weight, padding=1)


def run(
    name: str, own: bool, training: bool, autocast: bool, compiled: bool, batch_size: int, device: Any, tick: Callable
) -> None:
    """Train, or draw samples, without end: the loops of the tutorial around either network."""
    torch.manual_seed(0)
    network = (ours if own else theirs)(name).to(device).train(training)
    if compiled:
        compile_network(network, device)
    labels = torch.randint(_CLASSES, (batch_size,), device=device) if name == "dit" else None
    table = plain.tables(device)
    x = torch.randn(batch_size, *_SHAPE, device=device)

    def conditioned(z: Tensor, index: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            raw = network(z, index, labels)
        return raw.float()

    if training:
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
        while True:
            index, eps = torch.randint(0, 1000, (batch_size,), device=device), torch.randn_like(x)
            optimizer.zero_grad()
            plain.loss(conditioned, table, x, index, eps).backward()
            optimizer.step()
            tick()
    with torch.no_grad():
        while True:
            plain.step(conditioned, table, x, 500, torch.randn_like(x))
            tick()
