import pytest
import torch

from diffusion_lab.sampling.grids import Karras
from grid_schedules import Exploding, Flow


def sigmas(schedule, grid, steps):
    t = torch.tensor([t for t, _ in grid.steps(steps)], dtype=torch.float64)
    return schedule.sigma(t) / schedule.alpha(t)


@pytest.mark.parametrize("rho", [1.0, 7.0])
def test_the_sigmas_are_those_of_the_paper(rho):
    """Karras et al. 2022, eq. 5, from 80 to 0.002 with 18 steps; then 0."""
    n = torch.arange(18, dtype=torch.float64)
    expected = (80 ** (1 / rho) + n / 17 * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    schedule = Exploding()
    grid = Karras(schedule, rho)
    assert torch.allclose(sigmas(schedule, grid, 18), expected, rtol=1e-9)
    assert grid.steps(18)[-1] == (0, 0)


def test_it_starts_a_row_after_an_infinite_ratio():
    schedule = Flow()
    found = sigmas(schedule, Karras(schedule), 6)
    assert found[0] == float("inf")
    roots = found[1:] ** (1 / 7)
    assert (roots[1:] - roots[:-1]).tolist() == pytest.approx([float(roots[1] - roots[0])] * 4)


def test_rho_must_be_positive():
    with pytest.raises(ValueError, match=r"grid\.rho must be positive, got 0"):
        Karras(Exploding(), 0)
