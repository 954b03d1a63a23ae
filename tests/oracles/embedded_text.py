"""Short texts as vectors with Gaussian noise: the exact denoiser, by enumeration of all texts."""

import torch
from torch import nn

from oracles.markov_text import Joint


class ExactEmbedded(nn.Module):
    """A network whose output is E[x0 | z_t], with x0 ~ N(E(w), noise²) and z_t ~ N(alpha x0, sigma²); E(w) at `first`.

    Args:
        joint: the distribution of the texts w.
        vectors: [V, d] float64.
        noise: of x0.
        time: from what a network is told to the time.
        alpha, sigma: functions of the time.
        first: the last time at which the output is E[E(w) | z_t]; None for no such time.
    """

    def __init__(self, joint: Joint, vectors, noise, time, alpha, sigma, first=None):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.joint, self.vectors, self.noise, self.time = joint, vectors, noise, time
        self.alpha, self.sigma, self.first = alpha, sigma, first

    def forward(self, z, c_noise, condition=None):
        t = self.time(c_noise.double())
        alpha, sigma = (of(t)[:, None, None] for of in (self.alpha, self.sigma))
        spread = sigma**2 + alpha**2 * self.noise**2
        distance = (z[:, :, None] - alpha[..., None] * self.vectors).square().sum(-1)  # [B, L, V]
        of_place = -distance / (2 * spread)
        sequences = self.joint.sequences
        logs = sum(of_place[:, place, sequences[:, place]] for place in range(sequences.shape[1]))  # [B, V^L]
        mean = self.joint.conditionals((logs - logs.amax(1, keepdim=True)).exp()) @ self.vectors  # [B, L, d]
        x0 = mean + alpha * self.noise**2 / spread * (z - alpha * mean)
        return x0 if self.first is None else torch.where((t <= self.first)[:, None, None], mean, x0)
