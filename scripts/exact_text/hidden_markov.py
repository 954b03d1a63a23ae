"""A hidden Markov chain over short sequences of tokens, and its exact denoiser, by forward and backward passes."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from diffusion_lab.processes import Absorbing, DiscreteProcess


class HiddenMarkov:
    """The distribution of the tokens that a chain of hidden states emits.

    Args:
        initial: [H] float64, the distribution of the first hidden state.
        move: [H, H] float64, rows: from a hidden state to the next.
        emit: [H, V] float64, rows: from a hidden state to its token, all above 0.
        length: L, the number of tokens.

    Attributes:
        sequences: [V^L, L] int64, all sequences.
        probs: [V^L] float64, their probabilities.
    """

    def __init__(self, initial: Tensor, move: Tensor, emit: Tensor, length: int) -> None:
        self.initial, self.move, self.emit = initial, move, emit
        self.vocab_size, self.length = emit.shape[1], length
        self.sequences = torch.tensor(list(itertools.product(range(self.vocab_size), repeat=length)))
        hidden = initial.expand(len(self.sequences), -1)
        for position in range(length):
            if position:
                hidden = hidden @ move
            hidden = hidden * emit[:, self.sequences[:, position]].T
        self.probs = hidden.sum(1)

    def conditionals(self, likelihood: Tensor) -> Tensor:
        """Return p(x_l | what is seen at all other positions) [B, L, V], for the likelihood [B, L, V] of each token."""
        seen = likelihood @ self.emit.T  # [B, L, H]
        before = [self.initial.expand(len(seen), -1)]
        after = [torch.ones_like(before[0])]
        for position in range(self.length - 1):
            before.append(_normalized(before[-1] * seen[:, position]) @ self.move)
            after.append(_normalized(after[-1] * seen[:, -1 - position]) @ self.move.T)
        hidden = _normalized(torch.stack(before, 1) * torch.stack(after[::-1], 1))
        return hidden @ self.emit


def example() -> HiddenMarkov:
    """Return the chain of the figure: four tokens of three kinds, which depend on each other strongly."""
    stay, noise = 0.85, 0.1
    eye = torch.eye(3, dtype=torch.float64)
    move = stay * eye.roll(1, 1) + (1 - stay) / 3
    emit = (1 - noise) * eye + noise / 3
    return HiddenMarkov(torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), move, emit, 4)


class ExactDenoiser(nn.Module):
    """A network whose logits are the probabilities of each clean token, given the states of all other positions.

    For a mask that is the probability given all positions; for uniform tokens it is what D3PM's posterior and SEDD's
    scores are made of, to which the state of the position itself is added there.
    """

    def __init__(self, chain: HiddenMarkov, process: DiscreteProcess) -> None:
        super().__init__()
        self.chain, self.process = chain, process
        self.takes_time = not isinstance(process, Absorbing)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map states x [B, L] int64 and c_noise [B], 1000 t, to logits [B, L, V]."""
        t = c_noise.double() / 1000
        survival = self.process.schedule.survival(t) if self.takes_time else torch.full_like(t, 0.5)
        same = (x[..., None] == torch.arange(self.chain.vocab_size)).double()
        likelihood = survival[:, None, None] * same + (1 - survival)[:, None, None] * self.process.limit[x][..., None]
        return self.chain.conditionals(likelihood).log()


def _normalized(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)
