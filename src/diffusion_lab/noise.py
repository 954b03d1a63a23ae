"""Random numbers with an address: the same address gives the same numbers, in any batch, on any device.

An address is an experiment's seed and a path of strings and integers that says what the numbers are for. `Noise`
combines the 64-bit key of an address with one row number per sample. Every number is a pure function of
(key, row, position), so sample i does not depend on the batch it is drawn in, a rank or a micro-batch gets exactly
the rows that a single process would, and no number depends on what else was drawn.

Philox-4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
Normal variates: Box and Muller 1958.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: Sequence[Tensor | int], key: tuple[int, int], rounds: int = 10) -> tuple[Tensor, ...]:
    """Philox-4x32: map four words of counter and two words of key to four random words.

    Args:
        counter: four int64 tensors (or ints) of broadcastable shapes, values in [0, 2**32).
        key: two ints in [0, 2**32).

    Returns:
        Four int64 tensors with values in [0, 2**32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        # A product of two 32-bit words overflows int64, but its 64 bits are correct.
        low_product, high_product = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((high_product >> 32) & _MASK) ^ c1 ^ k0,
            high_product & _MASK,
            ((low_product >> 32) & _MASK) ^ c3 ^ k1,
            low_product & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3  # type: ignore[return-value]


def derived_seed(seed: int, *path: str | int) -> int:
    """Return the 64-bit seed of an address: a hash of (seed, path), in [0, 2**64).

    Integers of NumPy count as the Python integers of the same value.
    """
    address = (int(seed), *(part if isinstance(part, str) else int(part) for part in path))
    return int.from_bytes(hashlib.blake2b(repr(address).encode(), digest_size=8).digest(), "little")


class Noise:
    """Random numbers at an address, for a batch of samples.

    Args:
        rows: [B] int64; the number of each sample, read as an unsigned integer. Numbers are drawn on its device.
        seed: the experiment's seed.
        path: what the numbers are for, e.g. ``"train", epoch, batch_index``.

    Two draws from the same address are equal: give each use an address of its own, with `at`.
    """

    def __init__(self, rows: Tensor, seed: int, *path: str | int) -> None:
        self.rows = rows
        self.seed, self.path = seed, path
        key = derived_seed(seed, *path)
        self._key = (key & _MASK, key >> 32)

    def at(self, *path: str | int) -> Noise:
        """Return the same rows at the address with `path` appended."""
        return Noise(self.rows, self.seed, *self.path, *path)

    def grouped(self, size: int) -> Noise:
        """Return as many rows at the same address, which have their numbers in common with `size` rows each."""
        return Noise(self.rows // size, self.seed, *self.path)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return [B, *shape] float32, independent standard normal; |value| < 6.7."""
        size = math.prod(shape)
        a, b, c, d = self._words(size)
        # 0 < u <= 1 keeps the logarithm finite.
        radius_1, radius_2 = ((-2 * torch.log((u.float() + 1) * 2.0**-32)).sqrt() for u in (a, c))
        angle_1, angle_2 = (u.float() * (2 * math.pi * 2.0**-32) for u in (b, d))
        parts = (
            radius_1 * angle_1.cos(),
            radius_1 * angle_1.sin(),
            radius_2 * angle_2.cos(),
            radius_2 * angle_2.sin(),
        )
        return torch.cat(parts, dim=1)[:, :size].reshape(len(self.rows), *shape)

    def uniform(self, shape: Sequence[int] = ()) -> Tensor:
        """Return [B, *shape] float64, independent uniform on [0, 1), multiples of 2**-53."""
        size = math.prod(shape)
        a, b, c, d = self._words(2 * size)
        high, low = torch.cat((a, c), dim=1), torch.cat((b, d), dim=1)
        bits = (high << 21) | (low >> 11)
        return (bits[:, :size].double() * 2.0**-53).reshape(len(self.rows), *shape)

    def _words(self, per_row: int) -> tuple[Tensor, ...]:
        """Return four tensors of random 32-bit words, which together hold at least `per_row` words for each row."""
        blocks = torch.arange(-(-per_row // 4), device=self.rows.device)
        rows = self.rows[:, None]
        return philox((blocks[None, :] + 0 * rows, rows & _MASK, (rows >> 32) & _MASK, 0), self._key)
