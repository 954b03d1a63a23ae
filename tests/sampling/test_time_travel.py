import itertools

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DPMSolverPP2M, Sampler, State, TimeTravel, draw
from diffusion_lab.sampling.grids import Karras, Trailing
from grid_schedules import Exploding, Flow
from oracles.gaussian_ode import ExactDenoiser


def steps(count):
    """Pairs of whole numbers from `count` to 0."""
    return [(n, n - 1) for n in range(count, 0, -1)]


class Falls(Sampler):
    """Leaves the state alone, and notes which steps it took and with what history."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.taken = []

    def step(self, state, t, s, denoiser, noise):
        self.taken.append((float(t[0]), float(s[0]), dict(state.history)))
        return State(state.z, {"of": t})


def visited(count, jump_length, resamplings):
    """The times that are visited, in order; each pair must begin where the one before ended."""
    pairs = TimeTravel(Gaussian(Flow()), Falls(steps(count)), jump_length, resamplings).steps
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pairs))
    return [pairs[0][0], *(s for _, s in pairs)]


def test_it_is_algorithm_1_with_jumps_of_one_step():
    """For t = 3, 2, 1: a step; and but for t = 1, one up again and once more."""
    assert visited(3, 1, 2) == [3, 2, 3, 2, 1, 2, 1, 0]
    assert visited(2, 1, 4) == [2, 1, 2, 1, 2, 1, 2, 1, 0]


def test_longer_jumps_are_those_of_the_papers_schedule():
    """Its times, written out by hand from appendix B with T = 6, j = 2 and r = 2; steps up are taken at once."""
    papers = [5, 4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0, -1]
    turns = [
        now for before, now, after in zip(papers, papers[1:], papers[2:], strict=False) if before > now or now > after
    ]
    assert visited(6, 2, 2) == [time + 1 for time in (papers[0], *turns, papers[-1])]
    assert visited(6, 2, 2) == [6, 5, 4, 3, 5, 4, 3, 2, 1, 3, 2, 1, 0]


def test_what_is_left_above_whole_stretches_is_taken_once():
    assert visited(5, 3, 3) == [5, 4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1, 0]


def test_without_resampling_there_are_no_jumps():
    assert visited(5, 2, 1) == [5, 4, 3, 2, 1, 0]
    assert visited(1, 1, 1) == [1, 0]


def test_of_one_step_there_is_nothing_to_take_again():
    assert visited(1, 1, 5) == [1, 0]
    with pytest.raises(ValueError, match=r"inpaint\.jump_length must lie between 1 and 1, .* 1 steps, got 2"):
        visited(1, 2, 1)


def test_there_may_be_as_many_steps_with_jumps_as_without():
    assert len(visited(4, 3, 25_000)) == 100_000 + 1
    with pytest.raises(ValueError, match=r"resamplings=25001 makes 100,004 steps of the sampler's 4, .* 100,000"):
        visited(4, 3, 25_001)


def test_the_papers_own_numbers():
    """250 steps, j = 10, r = 10: 4,570 transitions one by one, of which 2,160 lead up, ten at once here."""
    pairs = TimeTravel(Gaussian(Flow()), Falls(steps(250)), 10, 10).steps
    assert sum(s < t for t, s in pairs) == 4570 - 2160
    assert sum(s > t for t, s in pairs) == 216


def test_jumps_add_the_noise_of_the_process_and_the_solver_starts_anew():
    process = Gaussian(Flow())
    sampler = Falls([(1.0, 0.5), (0.5, 0.25), (0.25, 0.0)])
    walk = TimeTravel(process, sampler, 1, 2)
    noise = Noise(torch.arange(20_000), 0)
    end = draw(None, walk, torch.zeros(20_000, 1, dtype=torch.float64), noise)
    assert [taken[:2] for taken in sampler.taken] == [(1, 0.5), (1, 0.5), (0.5, 0.25), (0.5, 0.25), (0.25, 0)]
    assert [bool(history) for _, _, history in sampler.taken] == [False, False, True, False, True]
    # From t = 0.5 to 1 nothing is left but noise of variance 1; from 0.25 to 0.5, a factor 2/3 and 1/4 − 1/36.
    assert float(end.var()) == pytest.approx(4 / 9 + 1 / 4 - 1 / 36, rel=0.03)


@pytest.mark.parametrize(("schedule", "grid"), [(Flow(), Trailing), (Exploding(), Karras)])
def test_each_step_down_is_an_evaluation_and_a_jump_is_none(schedule, grid):
    process = Gaussian(schedule)
    denoiser = ExactDenoiser(process)
    sampler = DPMSolverPP2M(process, grid(schedule), 6)
    walk = TimeTravel(process, sampler, 2, 3)
    draw(denoiser, walk, torch.ones(1, 1), Noise(torch.arange(1), 0))
    assert denoiser.evaluations == sum(s <= t for t, s in walk.steps) == 6 + 2 * 2 * 2


@pytest.mark.parametrize(
    ("jump_length", "resamplings", "says"),
    [
        (0, 2, r"inpaint\.jump_length must lie between 1 and 4, .* 5 steps, got 0"),
        (5, 2, r"inpaint\.jump_length must lie between 1 and 4, .* 5 steps, got 5"),
        (2, 0, r"inpaint\.resamplings must be at least 1, got 0"),
        (1, 10**6, r"inpaint\.resamplings=1000000 makes 7,999,997 steps"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(jump_length, resamplings, says):
    with pytest.raises(ValueError, match=says):
        TimeTravel(Gaussian(Flow()), Falls(steps(5)), jump_length, resamplings)
