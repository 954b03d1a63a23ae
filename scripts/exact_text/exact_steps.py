"""The exact distribution of what samplers of tokens draw, over all states, step by step.

Each function returns, for a step of one sampler, the probabilities [N, N] of all states (columns) after each state
(rows). They are written from the papers, share no code with the samplers and multiply matrices where those use closed
forms.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepFacts:
    """The parts that a step of a sampler depends on.

    Attributes:
        states: [N, L] int64, all states.
        tokens: [N, L, V] float64, the probabilities of clean tokens given the other positions of each state.
        limit: [S] float64, the distribution of what is destroyed; the first V of the S states are tokens.
        t, s: the times that the step starts at and leads to.
        alpha_t, alpha_s: the shares that survive there.
        rate: −α'/α at t.
        left: number of steps that are left, with this one; L if there are more.
        sampler: its settings.
    """

    states: Tensor
    tokens: Tensor
    limit: Tensor
    t: float
    s: float
    alpha_t: float
    alpha_s: float
    rate: float
    left: int
    sampler: Any

    @property
    def mask(self) -> int:
        """The state of a mask."""
        return self.tokens.shape[-1]

    @property
    def masked(self) -> Tensor:
        """[N, L] bool."""
        return self.states == self.mask

    @property
    def here(self) -> Tensor:
        """[N, L, S] float64, one-hot states."""
        return torch.nn.functional.one_hot(self.states, len(self.limit)).double()

    def as_states(self, tokens: Tensor) -> Tensor:
        """Return [N, L, S] of [N, L, V]."""
        return torch.nn.functional.pad(tokens, (0, len(self.limit) - tokens.shape[-1]))


def _of_positions(facts: StepFacts, each: Tensor) -> Tensor:
    """Return the probabilities of states whose positions are drawn each by itself, from [N, L, S]."""
    found = torch.ones(len(facts.states), len(facts.states), dtype=torch.float64)
    for position, column in enumerate(facts.states.T):
        found *= each[:, position, column]
    return found


def ancestral(facts: StepFacts) -> Tensor:
    """Bayes: q(z_s | z_t, x0) with the predicted tokens in the place of x0 (Austin et al. 2021, D3PM, eq. 4)."""
    keep = facts.alpha_t / facts.alpha_s
    forward = keep * torch.eye(len(facts.limit), dtype=torch.float64) + (1 - keep) * facts.limit
    before = facts.alpha_s * facts.as_states(facts.tokens) + (1 - facts.alpha_s) * facts.limit
    joint = forward.T[facts.states] * before
    total = joint.sum(-1, keepdim=True)  # 0 in states that do not occur at t
    return _of_positions(facts, torch.where(total > 0, joint / total, facts.here))


def remasking(facts: StepFacts) -> Tensor:
    """Wang et al. 2025, ReMDM, eq. 6, with σ = min(η, σ_max)."""
    assert facts.sampler.rule == "cap"
    largest = min(1.0, (1 - facts.alpha_s) / facts.alpha_t) if facts.alpha_t else 1.0
    again = min(facts.sampler.strength, largest)
    opening = (facts.alpha_s - (1 - again) * facts.alpha_t) / (1 - facts.alpha_t)
    opened = opening * facts.as_states(facts.tokens) + (1 - opening) * facts.limit
    closed = (1 - again) * facts.here + again * facts.limit
    return _of_positions(facts, torch.where(facts.masked[..., None], opened, closed))


def _scores(facts: StepFacts) -> Tensor:
    """Return p_t(y)/p_t(z) [N, L, S], one position changed to y: all of the states that lead to z."""
    noisy = facts.alpha_t * facts.as_states(facts.tokens) + (1 - facts.alpha_t) * facts.limit
    ratios = noisy / (noisy * facts.here).sum(-1, keepdim=True)
    if len(facts.limit) > facts.mask:  # a token was never anything else
        ratios = torch.where(facts.masked[..., None], ratios, facts.here)
    return ratios


def _generator(facts: StepFacts) -> Tensor:
    """Return the rates [S, S] from each state (rows) to each other, for a rate of 1."""
    return facts.limit - torch.eye(len(facts.limit), dtype=torch.float64)


def tweedie(facts: StepFacts) -> Tensor:
    """Lou et al. 2024, SEDD, theorem 4.2, with matrix exponentials."""
    total = torch.tensor(facts.alpha_s / facts.alpha_t, dtype=torch.float64).log()  # Δσ
    generator = _generator(facts)
    back = _scores(facts) @ torch.matrix_exp(-total * generator)  # of columns, so that it is transposed
    each = (back * torch.matrix_exp(total * generator).T[facts.states]).clamp(min=0)
    if facts.s == 0:
        each[..., facts.mask :] = 0
    return _of_positions(facts, each / each.sum(-1, keepdim=True))


def score_euler(facts: StepFacts) -> Tensor:
    """Lou et al. 2024, SEDD, eq. 17; where probabilities exceed 1 together, they are scaled."""
    rates = _generator(facts).T[facts.states]  # [N, L, S], from each state to the one that is there
    jumps = facts.rate * (facts.t - facts.s) * _scores(facts) * rates * (1 - facts.here)
    jumps = jumps / jumps.sum(-1, keepdim=True).clamp(min=1)
    return _of_positions(facts, jumps + facts.here * (1 - jumps.sum(-1, keepdim=True)))


def first_hitting(facts: StepFacts) -> Tensor:
    """Zheng et al. 2024, algorithm 1: one of the masks, each as likely as another, becomes a token."""
    found = torch.zeros(len(facts.states), len(facts.states), dtype=torch.float64)
    for row, state in enumerate(facts.states):
        masks = facts.masked[row].nonzero()[:, 0]
        if not len(masks):
            found[row, row] = 1
        for position, token in itertools.product(masks, range(facts.mask)):
            after = state.clone()
            after[position] = token
            found[row, _row_of(facts, after)] += facts.tokens[row, position, token] / len(masks)
    return found


def confidence(facts: StepFacts) -> Tensor:
    """Nie et al. 2025, LLaDA: of tokens drawn for all masks, those with the highest probabilities are kept."""
    assert facts.sampler.by == "confidence"
    assert facts.sampler.block == facts.states.shape[1]
    found = torch.zeros(len(facts.states), len(facts.states), dtype=torch.float64)
    for row, state in enumerate(facts.states):
        masks = facts.masked[row].nonzero()[:, 0].tolist()
        count = -(-len(masks) // facts.left)
        for drawn in itertools.product(range(facts.mask), repeat=len(masks)):
            probs = [float(facts.tokens[row, position, token]) for position, token in zip(masks, drawn, strict=True)]
            # Of tokens that are equally likely the first; the samplers know probabilities in float32.
            order = sorted(range(len(masks)), key=lambda k, probs=probs: -round(probs[k], 6))  # type: ignore[misc]
            after = state.clone()
            for k in order[:count]:
                after[masks[k]] = drawn[k]
            found[row, _row_of(facts, after)] += float(torch.tensor(probs, dtype=torch.float64).prod())
    return found


def _row_of(facts: StepFacts, state: Tensor) -> int:
    size = len(facts.limit)
    return sum(int(value) * size**place for place, value in enumerate(reversed(state.tolist())))


#: The step of each sampler, by its option of `sampler`.
STEPS: dict[str, Callable[[StepFacts], Tensor]] = {
    "ancestral": ancestral,
    "remasking": remasking,
    "tweedie": tweedie,
    "score_euler": score_euler,
    "first_hitting": first_hitting,
    "confidence": confidence,
}

#: Those whose step depends on no time.
TIMELESS = ("first_hitting", "confidence")
