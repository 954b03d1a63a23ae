"""Short texts of a known distribution, whose exact denoisers are found by enumeration."""

import itertools

import torch
from torch import nn


class Joint:
    """A distribution over all V^L sequences: of a Markov chain, or any other.

    Attributes:
        sequences: [V^L, L] int64, all of them.
        probs: [V^L] float64.
    """

    def __init__(self, probs, vocab_size, length):
        self.vocab_size, self.length = vocab_size, length
        self.sequences = torch.tensor(list(itertools.product(range(vocab_size), repeat=length)))
        self.probs = probs

    @classmethod
    def random(cls, vocab_size=3, length=3, seed=0, sharpness=2.0):
        weights = torch.randn(vocab_size**length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return cls((sharpness * weights).softmax(0), vocab_size, length)

    @classmethod
    def markov(cls, transition, length):
        """The chain that starts uniformly and moves on by `transition` [V, V] float64."""
        joint = cls(None, len(transition), length)
        probs = torch.full((len(joint.sequences),), 1 / len(transition), dtype=torch.float64)
        for n in range(1, length):
            probs = probs * transition[joint.sequences[:, n - 1], joint.sequences[:, n]]
        joint.probs = probs
        return joint

    @property
    def entropy(self):
        """In nats per token."""
        return float(-torch.xlogy(self.probs, self.probs).sum() / self.length)

    def draw(self, count, seed=0):
        rows = torch.multinomial(self.probs, count, True, generator=torch.Generator().manual_seed(seed))
        return self.sequences[rows]

    def conditionals(self, likelihood):
        """Return p(x_l | z) [B, L, V] for a likelihood q(z | x) [B, V^L] of each sequence."""
        weights = likelihood * self.probs
        weights = weights / weights.sum(1, keepdim=True)
        one_hot = nn.functional.one_hot(self.sequences, self.vocab_size).double()
        return torch.einsum("bn,nlv->blv", weights, one_hot)


class ExactMasked(nn.Module):
    """A network whose logits are the exact conditionals of masked tokens, given those that are open."""

    takes_time = False

    def __init__(self, joint):
        super().__init__()
        self.joint, self.calls = joint, 0
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, c_noise, condition=None):
        self.calls += 1
        fits = (x[:, None] == self.joint.sequences) | (x[:, None] == self.joint.vocab_size)
        return self.joint.conditionals(fits.all(-1).double()).clamp(min=1e-300).log()


class ExactBlocks(ExactMasked):
    """The exact conditionals of masked tokens given what is open of their block, and the blocks before it."""

    def __init__(self, joint, block_size):
        super().__init__(joint)
        self.block_size = block_size

    def forward(self, x, c_noise, condition=None, clean=None):
        found = []
        for first in range(0, self.joint.length, self.block_size):
            here = slice(first, first + self.block_size)
            state = torch.full_like(x, self.joint.vocab_size)
            state[:, :first], state[:, here] = (x if clean is None else clean)[:, :first], x[:, here]
            found.append(super().forward(state, c_noise)[:, here])
        return torch.cat(found, dim=1)


class ExactUniform(nn.Module):
    """A network for uniform tokens: p(x_l | the state but for position l), which the plug-in posterior needs.

    Args:
        survival: from the time that networks are told to the share that survives.
    """

    def __init__(self, joint, survival):
        super().__init__()
        self.joint, self.survival = joint, survival
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, c_noise, condition=None):
        alpha = self.survival(c_noise.double())[:, None, None]
        same = (x[:, None] == self.joint.sequences).double()
        each = alpha * same + (1 - alpha) / self.joint.vocab_size  # [B, N, L]
        found = [
            self.joint.conditionals(torch.cat([each[..., :here], each[..., here + 1 :]], -1).prod(-1))[:, here]
            for here in range(self.joint.length)
        ]
        return torch.stack(found, 1).log()
