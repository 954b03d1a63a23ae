"""Data N(mean, covariance): its exact network, its density under the probability-flow ODE, its variational bound.

Everything is diagonal in one basis, and follows from the moments of z = alpha x + sigma eps.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.networks import Network


class GaussianData:
    """N(mean, Q diag(variances) Q^T).

    Args:
        mean: [D].
        variances: [D].
        seed: of the basis Q, a random rotation; None for the identity.
    """

    def __init__(self, mean, variances, seed=None):
        self.mean, self.variances = np.asarray(mean, dtype=float), np.asarray(variances, dtype=float)
        size = len(self.mean)
        random = np.random.default_rng(seed).standard_normal((size, size))
        self.basis = np.eye(size) if seed is None else np.linalg.qr(random)[0]

    def sample(self, count, seed):
        white = np.random.default_rng(seed).standard_normal((count, len(self.mean)))
        return self.mean + (white * np.sqrt(self.variances)) @ self.basis.T

    def log_density(self, x):
        """[N] nats of data x [N, D]."""
        return _log_normal((x - self.mean) @ self.basis, self.variances)

    def expected_data(self, z, alpha, sigma):
        """E[x | z] for z [B, D], with alpha and sigma [B, 1]."""
        mean, variances, basis = (torch.from_numpy(a).to(z) for a in (self.mean, self.variances, self.basis))
        gain = alpha * variances / (alpha**2 * variances + sigma**2)
        return mean + ((z - alpha * mean) @ basis * gain) @ basis.T

    def ode_log_density(self, x, start, end, prior_std):
        """[N] nats of x under the ODE, from sigma/alpha = tan(start), whose state at the end is N(0, prior_std²).

        The exact flow keeps each coordinate's quantile in N(alpha mean, alpha² variance + sigma²). States and prior_std
        are those of alpha = cos and sigma = sin of the angles; x is the first state divided by alpha.
        """
        before, after = (np.cos(a) ** 2 * self.variances + np.sin(a) ** 2 for a in (start, end))
        first = np.cos(start) * (x - self.mean) @ self.basis
        last = np.cos(end) * self.mean @ self.basis + first * np.sqrt(after / before)
        stretched = 0.5 * np.log(after / before).sum() + len(self.mean) * math.log(np.cos(start))
        return _log_normal(last, np.full(len(self.mean), prior_std**2)) + stretched

    def prior_loss(self, alpha, sigma, prior_std):
        """The expected KL(q(z_1|x) ‖ N(0, prior_std²)) in nats per dimension, over data."""
        second = self.variances + ((self.mean @ self.basis) ** 2)
        ratio = (sigma / prior_std) ** 2
        return float(np.mean(0.5 * (ratio + alpha**2 * second / prior_std**2 - 1 - math.log(ratio))))

    def step_loss(self, alpha_bar_t, alpha_bar_s, variance):
        """The expected KL of a variance-preserving step back with exact x0, in nats per dimension, over data.

        Args:
            alpha_bar_t, alpha_bar_s: alpha² after and before the step.
            variance: ``beta`` or ``beta_tilde``, of the step back.
        """
        beta = 1 - alpha_bar_t / alpha_bar_s
        exact = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)
        modelled = beta if variance == "beta" else exact
        of_x0 = math.sqrt(alpha_bar_s) * beta / (1 - alpha_bar_t)
        error = self.squared_error(alpha_bar_t)
        return 0.5 * (exact / modelled - 1 + math.log(modelled / exact) + of_x0**2 * error / modelled)

    def squared_error(self, alpha_bar):
        """The expected squared error of exact x0 per dimension."""
        noise = 1 - alpha_bar
        return float(np.mean(self.variances * noise / (alpha_bar * self.variances + noise)))


class ExactNetwork(Network):
    """The raw output of a perfect network, in float64; it must be told the time by its schedule.

    Args:
        process: of its states.
        data: a `GaussianData`, or one for each label.
        kind: what it puts out: ``x0``, ``eps``, ``v`` or ``velocity``.
    """

    def __init__(self, process, data, kind="x0"):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.schedule, self.data, self.kind = process.schedule, data, kind
        self.condition = "label" if isinstance(data, list) else None
        self.batches, self.modes = [], set()

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        self.batches.append(len(x))
        self.modes.add(self.training)
        t, z = _time_told(self.schedule, c_noise.double()), x.flatten(1)
        alpha, sigma, d_alpha, d_sigma = (
            of(t)[:, None]
            for of in (self.schedule.alpha, self.schedule.sigma, self.schedule.d_alpha, self.schedule.d_sigma)
        )
        if condition is None:
            x0 = self.data.expected_data(z, alpha, sigma)
        else:
            every = torch.stack([data.expected_data(z, alpha, sigma) for data in self.data])
            x0 = every[condition, torch.arange(len(z))]
        eps = (z - alpha * x0) / sigma
        raw = {
            "x0": lambda: x0,
            "eps": lambda: eps,
            "v": lambda: alpha * eps - sigma * x0,
            "velocity": lambda: d_alpha * x0 + d_sigma * eps,
        }[self.kind]()
        return raw.reshape(x.shape) + 0 * self.weight


def _time_told(schedule, c_noise):
    if schedule.steps:
        return (c_noise + 1) / schedule.steps
    zero, one = (schedule.c_noise(torch.tensor([end], dtype=torch.float64)) for end in (0.0, 1.0))
    return ((c_noise - zero) / (one - zero)).clamp(0, 1)  # linear in time for each schedule


def _log_normal(x, variances):
    return -0.5 * (x**2 / variances + np.log(2 * math.pi * variances)).sum(-1)
