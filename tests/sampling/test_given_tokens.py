"""Tokens that are given, in states on the way."""

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.sampling import GivenTokens, State

TOKENS, GIVEN = torch.tensor([2, 0, 1]), torch.tensor([True, False, True])
STATES = torch.tensor([[2, 3, 1], [2, 0, 1]])


def test_a_state_that_holds_what_is_given_is_left_alone_and_another_loses_its_history():
    constraint, noise, history = GivenTokens(TOKENS, GIVEN), Noise(torch.arange(2), 0), {"of": torch.ones(1)}
    right, wrong = State(STATES, history), State(torch.tensor([[2, 3, 1], [2, 0, 3]]), history)
    assert constraint(right, None, noise) is right
    after = constraint(wrong, None, noise)
    assert torch.equal(after.z, STATES)
    assert after.history == {}


def test_who_does_not_know_them_has_masks_in_their_place_if_there_are_any():
    assert GivenTokens(TOKENS, GIVEN, mask=3).without(STATES).tolist() == [[3, 3, 3], [3, 0, 3]]
    assert GivenTokens(TOKENS, GIVEN).without(STATES) is None


@pytest.mark.parametrize("given", [torch.tensor([False] * 3), torch.tensor([True] * 2), torch.ones(3)])
def test_a_mask_that_does_not_fit_is_refused(given):
    with pytest.raises(ValueError, match=r"given must be a bool mask of \[3\] of which some is true"):
        GivenTokens(TOKENS, given)
