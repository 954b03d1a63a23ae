"""Schedules in continuous time with each kind of end, for tests of grids and samplers."""

import math

import torch

from diffusion_lab.schedules import GaussianSchedule


class Flow(GaussianSchedule):
    """alpha = 1 − t, sigma = t: the log-SNR is infinite at both ends."""

    def alpha(self, t):
        return 1 - t.double()

    def sigma(self, t):
        return t.double()

    def d_alpha(self, t):
        return torch.full_like(t.double(), -1)

    def d_sigma(self, t):
        return torch.full_like(t.double(), 1)

    def time(self, log_snr):
        return torch.sigmoid(-log_snr.double() / 2)


class Exploding(GaussianSchedule):
    """alpha = 1, log sigma linear from log 0.002 to log 80: the log-SNR is finite at both ends."""

    low, high = math.log(0.002), math.log(80)

    def alpha(self, t):
        return torch.ones_like(t.double())

    def sigma(self, t):
        return (self.low + t.double() * (self.high - self.low)).exp()

    def d_alpha(self, t):
        return torch.zeros_like(t.double())

    def d_sigma(self, t):
        return self.sigma(t) * (self.high - self.low)

    def time(self, log_snr):
        return (-log_snr.double() / 2 - self.low) / (self.high - self.low)


class Preserving(GaussianSchedule):
    """Variance is preserved, and the log-SNR is linear in t from `cleanest` to `noisiest`."""

    def __init__(self, cleanest=10.0, noisiest=-10.0):
        self.cleanest, self.noisiest = cleanest, noisiest

    def log_snr(self, t):
        return self.cleanest + t.double() * (self.noisiest - self.cleanest)

    def alpha(self, t):
        return torch.sigmoid(self.log_snr(t)).sqrt()

    def sigma(self, t):
        return torch.sigmoid(-self.log_snr(t)).sqrt()

    def d_alpha(self, t):
        return self.alpha(t) * self.sigma(t) ** 2 * (self.noisiest - self.cleanest) / 2

    def d_sigma(self, t):
        return -self.sigma(t) * self.alpha(t) ** 2 * (self.noisiest - self.cleanest) / 2

    def time(self, log_snr):
        return (log_snr.double() - self.cleanest) / (self.noisiest - self.cleanest)
