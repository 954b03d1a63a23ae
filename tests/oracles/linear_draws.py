"""Mean and covariance of a draw whose every step is linear in the state and in the noise, without random numbers.

All noise of the draw is replaced: in row 0 by zeros, so that the row ends in the mean; in each further row by zeros
but for a single 1, so that it ends in the mean plus the factor of that one number. The covariance is the sum of the
products of these factors.
"""

import torch


class Impulses:
    """Stands for the noise of a draw with room for so many numbers."""

    def __init__(self, numbers):
        self.rows, self.drawn = torch.arange(1 + numbers), [0]

    def at(self, *path):
        return self

    def normal(self, shape):
        (size,) = shape
        assert self.drawn[0] + size < len(self.rows), "there is no room for more numbers"
        noise = torch.zeros(len(self.rows), size)
        for k in range(size):
            self.drawn[0] += 1
            noise[self.drawn[0], k] = 1
        return noise


def moments(end):
    """The mean [D] and the covariance [D, D] from the last states [rows, D] of all rows."""
    factors = end[1:] - end[0]
    return end[0], factors.T @ factors
