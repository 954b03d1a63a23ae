"""A perceptron that takes labels; label K is the null label."""

import torch
from torch import nn

from diffusion_lab.networks import Network


class LabelledMLP(Network):
    condition = "label"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int,
        num_classes: int,
        width: int = 32,
        condition_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.condition_dropout = condition_dropout
        self.labels = nn.Embedding(num_classes + 1, width)
        self.inside = nn.Linear(in_channels * image_size**2 + 1, width)
        self.outside = nn.Linear(width, out_channels * image_size**2)
        self.shape = (out_channels, image_size, image_size)

    def forward(self, x, c_noise, condition=None):
        told = torch.cat([x.flatten(1), c_noise[:, None].to(x.dtype) / 1000], dim=1)
        hidden = torch.relu(self.inside(told) + self.labels(condition))
        return self.outside(hidden).reshape(-1, *self.shape)
