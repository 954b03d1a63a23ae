"""Power-function averages of the weights, and any width of them after training (Karras et al. 2024, EDM2).

After update n, the average holds the weights of update k with the share (k/n)^(γ+1) − ((k−1)/n)^(γ+1): the integral of
the density (γ+1)/n · (k/n)^γ, a power function of the time. Its relative width σ_rel is the standard deviation of that
density as a share of n. The profile of another width is a least-squares combination of the profiles of averages that
were stored on the way (section 3.2 and appendix C, algorithm 3). Here their coefficients sum to 1, unlike in the paper,
so that weights which do not change are their own average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: The widths that can be reconstructed.
LOWEST, HIGHEST = 0.03, 0.20
#: The narrowest average that is kept.
NARROWEST = 0.01
#: The widest average there is: that of γ = 0, in which all weights count alike.
WIDEST = 1 / math.sqrt(12)


def gamma_of(width: float) -> float:
    """Return the exponent γ of a relative width σ_rel in (0, 1/√12]: σ_rel² = (γ + 1) / ((γ + 2)² (γ + 3))."""
    low, high = 0.0, 2 / width  # σ_rel falls in γ, and is below 1/γ
    for _ in range(200):
        middle = (low + high) / 2
        if width_of(middle) > width:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def width_of(gamma: float) -> float:
    """Return the relative width σ_rel of an exponent γ >= 0 (EDM2, eq. 123)."""
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def reconstruct(stored: Sequence[tuple[int, float]], update: int, width: float) -> tuple[np.ndarray, float]:
    """Return the coefficients of stored averages that together are nearest to one that was not kept.

    Args:
        stored: for each average the update at which it was stored, from 1 to `update`, and its relative width.
        update: the update at which the wanted average stands.
        width: its relative width.

    Returns:
        [n] float64, a coefficient for each stored average; and the error of the profile, the norm of the difference
        from the wanted one as a share of that one's norm, both in L² over the time.
    """
    times = np.array([time for time, _ in stored], dtype=np.float64) / update
    gammas = np.array([gamma_of(width) for _, width in stored])
    gamma = gamma_of(width)
    products = _inner(times[:, None], gammas[:, None], times, gammas)
    wanted = _inner(times, gammas, np.ones(()), gamma)
    # The least squares, under the condition that the sum is 1 (by a multiplier of Lagrange).
    count = len(stored)
    system, right = np.ones((count + 1, count + 1)), np.ones(count + 1)
    system[:count, :count], system[count, count], right[:count] = products, 0, wanted
    found = np.linalg.lstsq(system, right, rcond=1e-13)[0][:count]
    own = float(_inner(np.ones(()), gamma, np.ones(()), gamma))
    rest = own - 2 * found @ wanted + found @ products @ found
    return found, math.sqrt(max(float(rest), 0.0) / own)


def _inner(t_a: np.ndarray, gamma_a: np.ndarray | float, t_b: np.ndarray, gamma_b: np.ndarray | float) -> np.ndarray:
    """Return the integral of the product of two densities, on [0, t_a] and [0, t_b] (EDM2, algorithm 3, p_dot_p)."""
    exponent = np.where(t_a < t_b, gamma_b, -np.asarray(gamma_a))
    product = (gamma_a + 1) * (gamma_b + 1) * (t_a / t_b) ** exponent
    return np.asarray(product / ((gamma_a + gamma_b + 1) * np.maximum(t_a, t_b)))
