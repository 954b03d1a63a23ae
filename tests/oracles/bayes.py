"""Bayes' rule by quadrature, in one dimension."""

from __future__ import annotations

import math

import numpy as np


def normal_log_density(x: np.ndarray | float, mean: np.ndarray | float, variance: float) -> np.ndarray:
    return -0.5 * (np.square(np.subtract(x, mean)) / variance + math.log(2 * math.pi * variance))


def posterior(
    z_t: float, x0: float, alpha_bar_t: float, alpha_bar_s: float, points: int = 20_001
) -> tuple[float, float]:
    """Mean and variance of q(z_s | z_t, x0), proportional to q(z_t | z_s) q(z_s | x0), for alpha_bar_s < 1.

    The forward step is what takes alpha_bar_s to alpha_bar_t: it multiplies the data by √(ratio), and adds
    what is missing to a variance of 1 (Ho et al. 2020, eq. 2 and 4).
    """
    ratio = alpha_bar_t / alpha_bar_s
    std_s = math.sqrt(1 - alpha_bar_s)
    grid = math.sqrt(alpha_bar_s) * x0 + std_s * np.linspace(-12, 12, points)
    log_density = normal_log_density(grid, math.sqrt(alpha_bar_s) * x0, 1 - alpha_bar_s)
    log_density += normal_log_density(z_t, math.sqrt(ratio) * grid, 1 - ratio)
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    mean = float(weights @ grid)
    return mean, float(weights @ (grid - mean) ** 2)
