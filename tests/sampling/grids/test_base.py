import itertools

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, draw, grids
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, LinearSchedule
from grid_schedules import Exploding, Flow

GRIDS = [getattr(grids, name) for name in grids.__all__ if name != "TimeGrid"]
SCHEDULES = [LinearSchedule(), CosineSchedule(), LinearSchedule(60), Flow(), Exploding()]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_every_grid_has_as_many_falling_steps_as_it_is_asked_for_and_ends_at_clean_data(grid, schedule, steps):
    found = grid(schedule).steps(steps)
    assert len(found) == steps
    assert all(s == t for (_, s), (t, _) in itertools.pairwise(found))
    assert all(1 >= t > s for t, s in found[:-1])
    assert found[-1][1] == (found[-1][0] if isinstance(schedule, Exploding) else 0)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_no_noise_is_left_where_time_0_is_not_clean(grid, steps):
    """Of data that is one point, with its exact denoiser."""
    process = Gaussian(EDMSchedule(sigma_min=0.1))
    noise = Noise(torch.arange(50), 0)

    def point(z, t, condition):
        return GaussianPrediction.of(process, z, t, torch.full_like(z, 0.5), "x0")

    samples = draw(point, DDIM(process, grid(process.schedule), steps), process.prior((1,), noise.at("prior")), noise)
    assert samples.flatten().tolist() == [0.5] * 50


@pytest.mark.parametrize("steps", [0, -1, 10**9])
def test_there_is_no_grid_of_no_steps_or_of_more_than_any_use_needs(steps):
    with pytest.raises(ValueError, match=rf"sampler\.num_steps must lie between 1 and 100000, got {steps}"):
        grids.Trailing(Flow()).steps(steps)


def test_there_are_grids_of_as_many_steps_as_any_use_needs():
    assert len(grids.Trailing(Flow()).steps(100_000)) == 100_000


@pytest.mark.parametrize("grid", [grids.Trailing, grids.Leading, grids.Linspace, grids.Quadratic])
def test_rows_are_not_visited_twice(grid):
    with pytest.raises(ValueError, match=r"sampler\.num_steps must lie between 1 and schedule\.steps=60, got 61"):
        grid(LinearSchedule(60)).steps(61)


def test_a_grid_of_continuous_time_that_goes_by_rows_names_its_own():
    grid = grids.Leading(Flow())
    with pytest.raises(ValueError, match=rf"must lie between 1 and the grid's {grid.rows} rows, got {grid.rows + 1}"):
        grid.check_rows(grid.rows + 1)
    grid.check_rows(grid.rows)


def test_a_grid_that_does_not_fall_is_refused():
    class Flat(TimeGrid):
        def times(self, num_steps):
            return [0.5] * num_steps

    with pytest.raises(ValueError, match="grid=Flat has no 3 different times"):
        Flat(Flow()).steps(3)
