"""A small convolutional classifier, whose last hidden layer serves as the features of FID and the like."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: The number of features, and the channels of the layers before the last ones.
FEATURES, STEM, MIDDLE = 96, 24, 48

#: The last maps are at most so many pixels wide.
_LAST_SIDE = 8


class FeatureNetwork(nn.Module):
    """A classifier of square images: convolutions, a mean over all places, and a linear layer.

    As in Inception, the features are the means of the last maps over all places. The maps are halved until they are
    at most 8 pixels wide, so the number of weights hardly depends on the image size: about 220,000 for ten classes.

    Args:
        in_channels, image_size: C, and H = W.
        num_classes: K, at least 2.

    Raises:
        ValueError: naming the size that is out of its range.
    """

    def __init__(self, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__()
        for name, value, least in (
            ("in_channels", in_channels, 1),
            ("image_size", image_size, 1),
            ("num_classes", num_classes, 2),
        ):
            if value < least:
                raise ValueError(f"a feature network needs {name} of at least {least}, got {value}")
        self.shape = (in_channels, image_size, image_size)
        self.num_classes = num_classes
        halvings = 0
        while -(-image_size // 2**halvings) > _LAST_SIDE:
            halvings += 1
        # The first layer halves as well, for layers of full size would take most of the time.
        self.body = nn.Sequential(
            _layer(in_channels, STEM, 5, stride=2 if halvings > 0 else 1),
            *(_layer(STEM, STEM, 3, stride=2) for _ in range(halvings - 2)),
            _layer(STEM, MIDDLE, 3),
            _layer(MIDDLE, FEATURES, 3, stride=2 if halvings > 1 else 1),
            _Residual(FEATURES),
            _layer(FEATURES, FEATURES, 3),
        )
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features [N, 96] and the logits [N, K] of images [N, C, H, W] float32 in [−1, 1].

        Raises:
            ValueError: if the images have another shape.
        """
        if images.shape[1:] != self.shape:
            raise ValueError(f"images must be [N, {', '.join(map(str, self.shape))}], got {list(images.shape)}")
        features = self.body(images).mean((2, 3))  # [N, 96]
        return features, self.head(features)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = _layer(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


def _layer(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def count_correct(logits: Tensor, labels: Tensor) -> int:
    """Return how many of the logits [N, K] are largest at the label [N] int64."""
    return int((logits.argmax(1) == labels).sum())


def seeded_network(in_channels: int, image_size: int, num_classes: int, seed: int) -> FeatureNetwork:
    """Return a network with initial weights that follow from `seed`; torch's global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FeatureNetwork(in_channels, image_size, num_classes)
