"""Substitution: no token becomes a mask, and what is open is copied (MDLM, section 3.2.3)."""

import math

import torch

from diffusion_lab.parameterizations import Substitution
from diffusion_lab.processes import Absorbing
from diffusion_lab.schedules import LogLinearSchedule

V = 4
PROCESS = Absorbing(LogLinearSchedule(), V)
MASK = PROCESS.mask
RAW = torch.randn(1, 3, V, generator=torch.Generator().manual_seed(0))
STATE = torch.tensor([[2, MASK, 0]])
PREDICTION = Substitution(PROCESS).prediction(RAW, STATE, torch.tensor([0.5], dtype=torch.float64))


def test_masks_have_the_probabilities_of_tokens_and_none_of_the_mask():
    assert PREDICTION.x0.shape == (1, 3, V)  # the mask would be number V
    torch.testing.assert_close(PREDICTION.x0[0, 1].exp(), RAW[0, 1].exp() / RAW[0, 1].exp().sum())


def test_what_is_open_is_copied_whatever_the_network_says():
    assert PREDICTION.x0[0, 0].exp().tolist() == [0, 0, 1, 0]
    assert PREDICTION.x0[0, 2].exp().tolist() == [1, 0, 0, 0]


def test_what_is_open_costs_nothing_if_it_is_the_token_and_is_impossible_otherwise():
    of_mask = -float(RAW[0, 1].log_softmax(-1)[3])
    costs = PREDICTION.nll(torch.tensor([[2, 3, 1]]))[0].tolist()
    assert costs[0] == 0
    assert math.isclose(costs[1], of_mask, rel_tol=1e-6)
    assert costs[2] == math.inf


def test_the_last_positions_are_those_of_the_whole():
    torch.testing.assert_close(PREDICTION.last(2).x0, PREDICTION.x0[:, -2:])
