"""Blocks from left to right, each by another sampler (Arriola et al. 2025, BD3LM, algorithm 2)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import block_size
from diffusion_lab.processes import DiscreteProcess, Prediction
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State


class Blocks(Sampler):
    """Draws one block after another, each from noise to data as a short sequence of its own, given those before it.

    A block is predicted from as many tokens before it as the network saw in training, so that a draw may go on for any
    length. Blocks that are there are not drawn again, and nothing that comes later changes them.

    Args:
        process: a discrete process.
        network: sees blocks.
        context: L, the number of positions in training; filled in from the data.
        within: the sampler that draws a block.

    Raises:
        ValueError: naming the key, if the network sees no blocks, or `within` draws no block of this size.
    """

    by_blocks = True

    def __init__(self, process: DiscreteProcess, network: nn.Module, context: int, within: Sampler) -> None:
        size = block_size(network)
        if size is None:
            raise ValueError("sampler=blocks needs a network that sees blocks, such as network.block_size=16")
        if within.by_blocks:
            raise ValueError("sampler.within must be a sampler of whole sequences, which a block is here")
        self.process = process
        self.context = context
        self.size = size
        self.within = within.of_length(size)
        self._lay_out(context // size)

    def _lay_out(self, count: int) -> None:
        """Set the steps of so many blocks: the times of the first fall from 1, and those of the last to 0."""
        self._places = {
            (self._time(number, count, t), self._time(number, count, s)): (number, (t, s))
            for number in range(count)
            for t, s in self.within.steps
        }
        assert len(self._places) == count * len(self.within.steps), "two steps have the same times"
        super().__init__(list(self._places))

    @staticmethod
    def _time(number: int, count: int, time: float) -> float:
        return (count - 1 - number + time) / count

    def of_length(self, length: int) -> Blocks:
        """Return the same sampler for sequences of another length, in whole blocks."""
        other = copy.copy(self)
        other._lay_out(length // self.size)
        return other

    def drawn(self, times: tuple[float, float]) -> slice:
        number, _ = self._places[times]
        return slice(number * self.size, (number + 1) * self.size)

    def take(self, state: State, times: tuple[float, float], denoiser: DenoiserFn, noise: Noise) -> State:
        number, pair = self._places[times]
        first, end = number * self.size, (number + 1) * self.size
        start = max(0, end - self.context)
        before, rest = state.z[:, start:first], state.z[:, end:]

        def of_block(block: Tensor, t: Tensor) -> Prediction:
            return denoiser(torch.cat([before, block], dim=1), t).last(self.size)

        history = {} if pair == self.within.steps[0] else state.history
        after = self.within.take(State(state.z[:, first:end], history), pair, of_block, noise)
        return State(torch.cat([state.z[:, :first], after.z, rest], dim=1), after.history)

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        return self.take(state, (float(t[0]), float(s[0])), denoiser, noise)

    def warning(self, bounded: bool) -> str | None:
        return self.within.warning(bounded)
