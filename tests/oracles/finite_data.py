"""The exact denoiser of data that is uniform over finitely many points."""

from __future__ import annotations

import torch
from torch import Tensor


def expected_data(z: Tensor, alpha: Tensor, sigma: Tensor, points: Tensor) -> Tensor:
    """E[x0 | z] for z [B, D] = alpha x0 + sigma eps, with alpha and sigma [B, 1] and points [N, D].

    By Bayes it is a mean of the points, each weighted by its likelihood: a softmax over −‖z − αx‖²/2σ².
    """
    distance = (z[:, None, :] - alpha[:, :, None] * points[None]).square().sum(-1)  # [B, N]
    return torch.softmax(-distance / (2 * sigma**2), dim=1) @ points


def expected_noise(z: Tensor, alpha: Tensor, sigma: Tensor, points: Tensor) -> Tensor:
    """E[eps | z], by the same token."""
    return (z - alpha * expected_data(z, alpha, sigma, points)) / sigma
