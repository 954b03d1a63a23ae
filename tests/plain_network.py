"""A network of one weight, by which it multiplies what it is given. No test."""

import torch

from diffusion_lab.networks import Network


class Plain(Network):
    def __init__(self, weight=0.5):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(float(weight)))

    def forward(self, x, c_noise, condition=None):
        return self.weight * x
