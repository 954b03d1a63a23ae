"""Tokens that are given stay: prompts and infilling."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.sampling.base import Constraint, State


class GivenTokens(Constraint):
    """Puts given tokens into every state, as they are.

    A masked state with some tokens is a state of the process, so that what is drawn around them is drawn given them,
    without resampling. For tokens that are replaced at random, given ones look like any others, and the rest is drawn
    to go with them only nearly.

    Args:
        tokens: [*D] int64, of which the given ones are used.
        given: [*D] bool.
        mask: the state of a position of which nothing is known; None if there is none.

    Raises:
        ValueError: if nothing is given, or the shapes differ.
    """

    given: Tensor

    def __init__(self, tokens: Tensor, given: Tensor, mask: int | None = None) -> None:
        if given.dtype != torch.bool or given.shape != tokens.shape or not bool(given.any()):
            raise ValueError(f"given must be a bool mask of {list(tokens.shape)} of which some is true")
        self.tokens = tokens
        self.given = given
        self.mask = mask

    def __call__(self, state: State, s: Tensor | None, noise: Noise) -> State:
        tokens, given = self.tokens.to(state.z), self.given.to(state.z.device)
        changed = given & (state.z != tokens)
        if not bool(changed.any()):
            return state
        return State(torch.where(given, tokens, state.z))

    def without(self, z: Tensor) -> Tensor | None:
        """Return the states with the mask in the place of what is given."""
        return None if self.mask is None else torch.where(self.given.to(z.device), self.mask, z)
