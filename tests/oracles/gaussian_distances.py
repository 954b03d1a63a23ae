"""Closed forms of distances between Gaussians."""

import itertools

import numpy as np
import scipy.linalg


def frechet(mean, covariance, other_mean, other_covariance):
    """‖μ − μ'‖² + tr(Σ + Σ' − 2(Σ^½ Σ' Σ^½)^½), by symmetric square roots (Dowson & Landau 1982)."""
    root = scipy.linalg.sqrtm(covariance)
    cross = scipy.linalg.sqrtm(root @ other_covariance @ root)
    return np.sum((mean - other_mean) ** 2) + np.trace(covariance + other_covariance - 2 * cross).real


def cubic_kernel_distance(mean, covariance, other_mean, other_covariance):
    """The squared maximum mean discrepancy with the kernel (x·y/D + 1)³, by the first three moments of a Gaussian."""
    x, y = (_moments(mean, covariance), _moments(other_mean, other_covariance))
    return _expected_kernel(x, x) + _expected_kernel(y, y) - 2 * _expected_kernel(x, y)


def _moments(m, s):
    size = len(m)
    third = np.empty((size, size, size))
    for i, j, k in itertools.product(range(size), repeat=3):
        third[i, j, k] = m[i] * m[j] * m[k] + s[i, j] * m[k] + s[i, k] * m[j] + s[j, k] * m[i]
    return m, s + np.outer(m, m), third


def _expected_kernel(x, y):
    size = len(x[0])
    first, second, third = (np.sum(a * b) for a, b in zip(x, y, strict=True))  # of E[(x·y)^p]
    return 1 + 3 * first / size + 3 * second / size**2 + third / size**3
