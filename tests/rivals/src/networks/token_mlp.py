"""A perceptron over the tokens of a word."""

import torch
from torch import nn

from diffusion_lab.networks import Network


class TokenMLP(Network):
    def __init__(self, num_states: int, vocab_size: int, length: int, width: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(num_states, width)
        self.mix = nn.Linear(length * width, length * vocab_size)
        self.shape = (length, vocab_size)

    def forward(self, x, c_noise, condition=None):
        return self.mix(torch.relu(self.tokens(x)).flatten(1)).reshape(-1, *self.shape)
