"""How sure a prediction is, by hand."""

import math

import pytest
import torch

from diffusion_lab.processes import Absorbing
from diffusion_lab.sampling import Confidence
from diffusion_lab.schedules import LogLinearSchedule

#: Of a token that is likely, of one of two, and of one that is certain, where others are impossible.
PROBS = torch.tensor([[[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
TOKENS = torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("confidence", [math.log(0.7), math.log(0.5), 0]),
        ("entropy", [0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1), math.log(0.5), 0]),
        ("margin", [0.5, 0, 1]),
    ],
)
def test_sureness_is_finite_where_tokens_are_impossible(by, expected):
    sampler = Confidence(Absorbing(LogLinearSchedule(), 3), 3, num_steps=3, by=by)
    assert sampler._sureness(PROBS.log(), TOKENS).tolist() == [pytest.approx(expected)]
