"""A time for each block of a sequence (Arriola et al. 2025, BD3LM, eq. 7)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.noise import Noise


def block_times(t: Tensor, blocks: int, steps: int | None, noise: Noise) -> Tensor:
    """Return times [B, blocks] of the blocks of each sample, spread over those that its time may have.

    The times of a sample lie one in each of as many equal strata, in random order, so that the loss of a sample varies
    little with them; t says where in its stratum each lies. Where t is uniform, each of them is. One block has t.

    Args:
        t: [B] float64 in (0, 1]; in steps of 1/T where there are T steps.
        blocks: how many.
        steps: T; None in continuous time.
        noise: draws the order.
    """
    stratum = noise.uniform((blocks,)).argsort(dim=1)  # [B, blocks]
    if steps is None:
        return (stratum + t[:, None]) / blocks
    row = stratum * steps + (t[:, None] * steps).round()  # 1, …, blocks · T
    return -(-row // blocks) / steps


def position_times(t: Tensor, block_size: int | None, z: Tensor, steps: int | None, noise: Noise) -> Tensor:
    """Return the time of each position of states z [B, L], [B, L] float64; without blocks t [B] as it is.

    Args:
        t, steps, noise: see `block_times`.
        block_size: the number of positions of a block; None without blocks.
        z: the states, or the data that they are made from.
    """
    if block_size is None:
        return t
    return block_times(t, z.shape[1] // block_size, steps, noise).repeat_interleave(block_size, dim=1)
