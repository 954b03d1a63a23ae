"""Training of a feature network on the training images of a data set, and on nothing else."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from diffusion_lab import console
from diffusion_lab.data import Batch, DataModule, ImageDataModule, Loader, Split
from diffusion_lab.errors import LabError
from diffusion_lab.metrics.feature_network import FeatureNetwork, count_correct, seeded_network
from diffusion_lab.noise import Noise

#: There is a line about the loss every so many seconds; the loss is looked at every so many steps.
_LINE_SECONDS, _LOOK = 10.0, 25


@dataclass(frozen=True)
class FeatureTraining:
    """How a feature network is trained: SGD with Nesterov momentum, and a learning rate that rises once and falls.

    Attributes:
        steps: of the optimizer; 2,500 of 128 images are six passes over MNIST.
        batch_size: images in a step.
        lr: the highest learning rate, which is reached after a quarter of the steps.
        weight_decay: of all weights.
        shift: each image is shifted at random by at most so many pixels, up or down and to a side.
        label_smoothing: the share of the target that all classes have alike (Szegedy et al. 2016), where labels may be
            wrong.
        seed: of the initial weights, the order of the images and the shifts.
    """

    steps: int = 2500
    batch_size: int = 128
    lr: float = 0.1
    weight_decay: float = 5e-4
    shift: int = 2
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for key, least in (("steps", 1), ("batch_size", 2), ("shift", 0), ("seed", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"{key} must be at least {least}, got {getattr(self, key)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be from 0 to below 1, got {self.label_smoothing}")


def check_trainable(data: DataModule) -> None:
    """Check that a feature network can be trained on this data, which need not be there yet.

    Raises:
        LabError: saying what the data lacks.
    """
    name = type(data).__name__
    if not isinstance(data, ImageDataModule):
        raise LabError(
            f"a feature network is for images, and data={name} has none (text: evaluation=text_quality or token_bound)"
        )
    if data.num_classes is None or data.num_classes < 2:
        raise LabError(
            f"a feature network learns from labels, and data={name} has none: take features=inception with "
            "features.path=…, or sort the images into a subfolder for each class"
        )


def train_network(
    data: DataModule, training: FeatureTraining, device: torch.device | None = None, images: Split | None = None
) -> FeatureNetwork:
    """Return a network, in evaluation mode on the CPU, that was trained on the split `data.train` alone.

    On one CPU thread, the same data and settings give the same bits.

    Args:
        data: images with labels, which must be there.
        training: the settings.
        device: where to train; None for the CPU.
        images: to learn from instead of the training split, such as generated ones.

    Raises:
        LabError: if the data cannot be learned from, or the loss is not finite.
    """
    check_trainable(data)
    data.setup()
    assert isinstance(data, ImageDataModule)
    images = data.train if images is None else images
    assert images is not None
    assert data.num_classes is not None
    if len(images) < 2:
        raise LabError("a feature network needs at least two training images: raise data.limit_train")
    network = seeded_network(data.channels, data.image_size, data.num_classes, training.seed)
    network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), training.lr, momentum=0.9, nesterov=True, weight_decay=training.weight_decay
    )
    with (
        _loader(data, images, training, device, shuffle=True) as loader,
        tqdm(total=training.steps, unit="step", dynamic_ncols=True, disable=not console.current().bar) as bar,
    ):
        _fit(network, optimizer, loader, training, bar)
    return network.eval().cpu()


def accuracy(network: FeatureNetwork, data: DataModule, split: Split, batch_size: int = 500) -> float:
    """Return the share of the images of `split` whose label the network finds, from 0 to 1."""
    correct = 0
    device = network.head.weight.device
    training = FeatureTraining(batch_size=batch_size, shift=0)
    with torch.inference_mode(), _loader(data, split, training, device, shuffle=False) as loader:
        for batch in loader:
            _, logits = network(batch.x.to(memory_format=torch.channels_last))
            correct += count_correct(logits, _labels(batch))
    return correct / len(split)


def shifted(stored: Tensor, noise: Noise, most: int) -> Tensor:
    """Return images [n, C, H, W], each shifted by −most, …, most pixels in both directions; the rim is repeated."""
    if most == 0:
        return stored
    height, width = stored.shape[2:]
    by = (noise.at("shift").uniform((2,)) * (2 * most + 1)).long() - most  # [n, 2]
    rows = (torch.arange(height, device=stored.device) + by[:, :1]).clamp(0, height - 1)  # [n, H]
    columns = (torch.arange(width, device=stored.device) + by[:, 1:]).clamp(0, width - 1)  # [n, W]
    image, channel = (torch.arange(size, device=stored.device) for size in stored.shape[:2])
    return stored[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


@contextlib.contextmanager
def _loader(
    data: DataModule, split: Split, training: FeatureTraining, device: torch.device | None, shuffle: bool
) -> Iterator[Loader]:
    loader = Loader(
        split.data,
        split.labels,
        training.batch_size,
        shuffle,
        training.seed,
        to_batch=data.to_batch,
        augment=lambda stored, noise: shifted(stored, noise, training.shift),
        workers=data.workers,
        device=device,
    )
    try:
        yield loader
    finally:
        loader.close()


def _fit(
    network: FeatureNetwork, optimizer: torch.optim.Optimizer, loader: Loader, training: FeatureTraining, bar: tqdm
) -> None:
    line_due = time.monotonic() + _LINE_SECONDS
    total = torch.zeros((), device=network.head.weight.device)  # of the losses since the last line
    steps = start = 0
    for step, batch in enumerate(itertools.islice(_epochs(loader), training.steps), 1):
        optimizer.param_groups[0]["lr"] = training.lr * one_cycle((step - 0.5) / training.steps)
        _, logits = network(batch.x.to(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, _labels(batch), label_smoothing=training.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total, steps = total + loss.detach(), step - start
        bar.update()
        if steps % _LOOK == 0 or step == training.steps:
            mean = float(total) / steps
            bar.set_postfix_str(f"loss {console.loss(mean)}", refresh=False)
            if not math.isfinite(mean):
                raise LabError(f"the loss of the feature network is not finite at step {step}: take a smaller lr")
            if time.monotonic() >= line_due or step == training.steps:
                text = f"step {step:,}/{training.steps:,}  loss {console.loss(mean)}"
                console.current().event("step", text, step=step, loss=mean)
                line_due, start = time.monotonic() + _LINE_SECONDS, step
                total.zero_()


def _epochs(loader: Loader) -> Iterator[Batch]:
    """Yield the batches of one epoch after another, but those of a single image, which cannot be normalized."""
    while True:
        yield from (batch for batch in loader if len(batch.x) > 1)


def _labels(batch: Batch) -> Tensor:
    assert batch.label is not None  # `check_trainable` has made sure
    return batch.label.to(batch.x.device)


def one_cycle(progress: float) -> float:
    """Return the share of the highest learning rate at a share of all steps: up in a quarter, down to 0 in the rest."""
    return progress / 0.25 if progress < 0.25 else 0.5 * (1 + math.cos(math.pi * (progress - 0.25) / 0.75))
