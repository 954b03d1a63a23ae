"""Which masks are opened, and the time that stands for a share of them."""

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.sampling.unmask import best, random_masked, time_of_share
from diffusion_lab.schedules import GeometricSchedule, LogLinearSchedule

SHARES = torch.tensor([0.0, 0.04, 0.1, 0.55, 1.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LogLinearSchedule(), [0, 0.04, 0.1, 0.55, 1]), (LogLinearSchedule(10), [0.1, 0.1, 0.1, 0.55, 1]),
        (LogLinearSchedule(remaining=0.5), [0, 0.08, 0.2, 1, 1]),
        (LogLinearSchedule(20, remaining=0.5), [0.05, 0.08, 0.2, 1, 1]),
    ],
)  # fmt: skip
def test_a_share_has_its_time_between_the_first_step_and_the_last(schedule, expected):
    assert time_of_share(schedule, SHARES).tolist() == pytest.approx(expected, rel=1e-12)


def test_shares_that_a_schedule_does_not_reach_have_its_ends():
    assert time_of_share(GeometricSchedule(0.1, 1.0), SHARES[[0, -1]]).tolist() == [0, 1]


def test_the_best_are_those_with_the_highest_score_and_the_first_of_equal_ones():
    score = torch.tensor([[1.0, 3, 2, 3], [0, 0, 0, 0]])
    assert best(score, torch.tensor([1, 2])).tolist() == [[False, True, False, False], [True, True, False, False]]
    assert best(score, torch.tensor([3, 0])).tolist() == [[False, True, True, True], [False] * 4]
    assert best(score, torch.tensor([9, 4])).all()


def test_of_parts_each_has_its_own_count():
    score, count = torch.tensor([[1.0, 3, 2, 3], [5, 4, 0, 1]]), torch.tensor([[1, 2], [0, 1]])
    assert best(score, count).tolist() == [[False, True, True, True], [False, False, False, True]]


def test_masks_are_taken_at_random_and_nothing_else_is():
    masked = torch.tensor([True, False, True, True]).expand(3000, 4)
    noise = Noise(torch.arange(3000), 0)
    assert not random_masked(masked, torch.zeros(3000, dtype=torch.int64), noise).any()
    for count in (1, 2):
        taken = random_masked(masked, torch.full((3000,), count), noise)
        assert set(taken.sum(1).tolist()) == {count}
        torch.testing.assert_close(taken.double().mean(0), masked[0].double() * count / 3, atol=0.03, rtol=0)
    assert torch.equal(random_masked(masked, torch.full((3000,), 4), noise), masked)
