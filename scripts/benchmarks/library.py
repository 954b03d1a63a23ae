"""Contender (c): the usual loop of the diffusers and accelerate libraries, where they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.plain import SIDE, Images, PlainUNet, loader

INSTALLED = all(importlib.util.find_spec(name) for name in ("accelerate", "diffusers"))


def scheduler(variance: str = "fixed_large"):
    """Return a DDPM scheduler with the linear schedule and σ² = β, without clipping."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(1000, variance_type=variance, clip_sample=False)


def loss(network: torch.nn.Module, ddpm, x0: Tensor, index: Tensor, eps: Tensor) -> Tensor:
    """Return the mean squared error of the predicted noise at step indices [B], from 0."""
    return functional.mse_loss(network(ddpm.add_noise(x0, eps, index), index), eps)


def train(data: Images, batch_size: int, device: torch.device, autocast: bool, tick: Callable[[], None]) -> None:
    """Train without end, with the loop of accelerate's and diffusers' examples."""
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16" if autocast else "no", cpu=device.type == "cpu")
    ddpm = scheduler()
    network = PlainUNet(1, 1, SIDE)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    network, optimizer, batches = accelerator.prepare(network, optimizer, loader(data.dataset(), batch_size))
    while True:
        for x0, _ in batches:
            index = torch.randint(0, 1000, (len(x0),), device=x0.device)
            value = loss(network, ddpm, x0, index, torch.randn_like(x0))
            accelerator.backward(value)
            optimizer.step()
            optimizer.zero_grad()
            tick()


@torch.no_grad()
def sample(batch_size: int, device: torch.device, tick: Callable[[], None]) -> None:
    """Draw samples without end, by ancestral sampling."""
    network = PlainUNet(1, 1, SIDE).to(device).eval()
    ddpm = scheduler()
    ddpm.set_timesteps(1000)
    while True:
        x = torch.randn(batch_size, 1, SIDE, SIDE, device=device)
        for t in ddpm.timesteps:
            eps = network(x, t.expand(batch_size).to(device))
            x = ddpm.step(eps, t, x).prev_sample
            tick()
