"""Contender (a), the tutorial's code: plain loops, and a network without any optimization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from diffusion_lab.data import MNIST, Digits
from diffusion_lab.networks import SimpleUNet

TRANSFORM = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
WORKERS = 2
#: Side of the images, in pixels.
SIDE = 28


class PlainUNet(SimpleUNet):
    """SimpleUNet with the same weights, computed step by step: upsample, concatenate, convolve, normalize."""

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None = None) -> Tensor:
        time = self.time_embedding(self.position(c_noise).to(x.dtype))

        def block(layer: Any, h: Tensor) -> Tensor:
            return functional.silu(layer.norm(layer.conv(h))) + layer.time(time)[:, :, None, None]

        skips = []
        for layer in self.encoder:
            x = block(layer, x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = block(self.bottleneck, x)
        for layer in self.decoder:
            up = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(layer, torch.cat([up, skips.pop()], dim=1))
        return self.out(x)


class Pictures(Dataset):
    """A data set in torchvision's style from images [N, 1, H, W] uint8: one PIL image at a time, through transforms."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.numpy(), labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return TRANSFORM(Image.fromarray(self.images[index, 0])), int(self.labels[index])


@dataclass(frozen=True)
class Images:
    """Training images of all contenders: MNIST if its files are in `data_dir`, else the bundled digits."""

    data_dir: str

    @property
    def is_mnist(self) -> bool:
        """Whether MNIST's files are in `data_dir`."""
        return all((Path(self.data_dir) / "MNIST" / "raw" / name).is_file() for name in MNIST.checksums)

    @property
    def name(self) -> str:
        """Description for the head of the output."""
        if self.is_mnist:
            return "MNIST (torchvision's class in (a) and (c))"
        return f"the bundled digits at {SIDE}×{SIDE} (as PIL images through transforms in (a) and (c))"

    @property
    def overrides(self) -> list[str]:
        """Overrides with which (b) trains on these images."""
        return ["data=mnist"] if self.is_mnist else ["data=digits", f"data.image_size={SIDE}"]

    def dataset(self) -> Dataset:
        """Return the images as a data set in torchvision's style."""
        if self.is_mnist:
            return datasets.MNIST(self.data_dir, train=True, transform=TRANSFORM)
        digits = Digits(image_size=SIDE)
        digits.setup()
        assert digits.train is not None
        assert digits.train.labels is not None
        return Pictures(digits.train.read(), digits.train.labels)


def loader(dataset: Dataset, batch_size: int) -> DataLoader:
    """Return the tutorial's data loader, with two persistent workers."""
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True)


def tables(device: torch.device, steps: int = 1000) -> dict[str, Tensor]:
    """Return the coefficients of the linear schedule, each float32 [steps]."""
    beta = torch.linspace(1e-4, 0.02, steps, device=device)
    return {"beta": beta, "alpha": 1 - beta, "alpha_bar": torch.cumprod(1 - beta, dim=0)}


def loss(network: Callable[..., Tensor], table: dict[str, Tensor], x0: Tensor, index: Tensor, eps: Tensor) -> Tensor:
    """Return the mean squared error of the predicted noise at step indices [B], from 0."""
    alpha_bar = table["alpha_bar"][index].view(-1, 1, 1, 1)
    x = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps
    return functional.mse_loss(network(x, index), eps)


def train(data: Images, batch_size: int, device: torch.device, autocast: bool, tick: Callable[[], None]) -> None:
    """Train without end, with the tutorial's loop."""
    network = PlainUNet(1, 1, SIDE).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    table = tables(device)
    batches = loader(data.dataset(), batch_size)
    while True:
        for images, _ in batches:
            x0 = images.to(device)
            index = torch.randint(0, 1000, (len(x0),), device=device)
            eps = torch.randn_like(x0)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                value = loss(network, table, x0, index, eps)
            value.backward()
            optimizer.step()
            tick()


@torch.no_grad()
def sample(batch_size: int, device: torch.device, tick: Callable[[], None]) -> None:
    """Draw samples without end, with the tutorial's ancestral loop (σ² = β)."""
    network = PlainUNet(1, 1, SIDE).to(device).eval()
    table = tables(device)
    while True:
        x = torch.randn(batch_size, 1, SIDE, SIDE, device=device)
        for i in reversed(range(1000)):
            x = step(network, table, x, i, torch.randn_like(x) if i else torch.zeros_like(x))
            tick()


def step(network: Callable[..., Tensor], table: dict[str, Tensor], x: Tensor, i: int, noise: Tensor) -> Tensor:
    """Return the state after one ancestral step from index i, for `noise` of the shape of x."""
    eps = network(x, torch.full((len(x),), i, device=x.device))
    beta, alpha, alpha_bar = table["beta"][i], table["alpha"][i], table["alpha_bar"][i]
    return (x - beta / (1 - alpha_bar).sqrt() * eps) / alpha.sqrt() + beta.sqrt() * noise
