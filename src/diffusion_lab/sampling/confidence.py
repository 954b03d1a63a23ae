"""Unmasking by confidence, in blocks from left to right (Nie et al. 2025, LLaDA; Chang et al. 2022, MaskGIT)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Absorbing
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State
from diffusion_lab.sampling.unmask import best, draw_tokens, time_of_share


class Confidence(Sampler):
    """Each step draws a token for every mask, and keeps those of which the network is surest; the others stay masked.

    Equally many are kept at each step of a block. A temperature or a truncation changes which tokens are drawn, and not
    how sure the network, with its guidance, is of them: at temperature 0 all would look equally sure. What is drawn is
    not a sample of the network's process: sure tokens come first, and repetitions with them. Show the entropy of the
    samples beside their quality.

    The pairs of times that the sampler visits are nominal: a network that is told the time is told for each sample the
    one at which as many of its positions are masked in the mean.

    Args:
        process: the absorbing process.
        length: L, the number of positions; filled in from the codec.
        num_steps: how many steps, in all blocks together; a multiple of the number of blocks.
        block_length: positions of a block; blocks are completed from left to right. None for one block.
        by: what the surest are: ``confidence``, those with the highest probability of the token that was drawn;
            ``entropy``, with the lowest entropy; ``margin``, where the likeliest token is ahead of the next by most.

    Raises:
        ValueError: naming the key, if the numbers do not fit.
    """

    def __init__(
        self,
        process: Absorbing,
        length: int,
        num_steps: int = 64,
        block_length: int | None = None,
        by: Literal["confidence", "entropy", "margin"] = "confidence",
    ) -> None:
        block = length if block_length is None else block_length
        if block < 1 or length % block:
            raise ValueError(f"sampler.block_length must divide the length {length}, got {block_length}")
        blocks = length // block
        if num_steps < 1 or num_steps % blocks:
            raise ValueError(f"sampler.num_steps must be a multiple of the number of blocks, {blocks}, got {num_steps}")
        super().__init__([(n / num_steps, (n - 1) / num_steps) for n in range(num_steps, 0, -1)])
        self.process = process
        self.num_steps = num_steps
        self.block_length = block_length
        self.block = block
        self.by = by

    def of_length(self, length: int) -> Confidence:
        return Confidence(self.process, length, self.num_steps, self.block_length, self.by)

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z = state.z
        per_block = self.num_steps * self.block // z[0].numel()  # steps
        done = self.num_steps - round(float(t[0]) * self.num_steps)  # steps before this one
        number, of_block = divmod(done, per_block)
        place = torch.arange(z[0].numel(), device=z.device).view(z.shape[1:])
        masked = z == self.process.mask
        here = masked & (place < (number + 1) * self.block)
        left = here.flatten(1).sum(1)
        # One at least: of a sample without masks nothing is asked, and at t = 0 some predictions have no limit.
        share = masked.flatten(1).sum(1).clamp(min=1).double() / z[0].numel()
        prediction = denoiser(z, time_of_share(self.process.schedule, share))
        tokens = draw_tokens(prediction, noise)
        score = torch.where(here, self._sureness(prediction.untempered.x0, tokens), -torch.inf)
        count = -(-left // (per_block - of_block))  # rounded up, so that the last step opens all that are left
        return State(torch.where(best(score, count) & here, tokens, z))

    def _sureness(self, log_probs: Tensor, tokens: Tensor) -> Tensor:
        if self.by == "confidence":
            return log_probs.gather(-1, tokens[..., None])[..., 0]
        probs = log_probs.exp()
        if self.by == "entropy":
            return torch.where(probs > 0, probs * log_probs, 0).sum(-1)
        top = probs.topk(min(2, probs.shape[-1]), dim=-1).values
        return top[..., 0] - top[..., -1]
