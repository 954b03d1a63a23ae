import pytest
import torch

from diffusion_lab.schedules import LinearSchedule


def test_the_betas_of_ddpm():
    betas = LinearSchedule(1000).betas
    assert betas.dtype == torch.float64
    assert betas[[0, 499, 999]].tolist() == pytest.approx([1e-4, 1e-4 + 0.0199 * 499 / 999, 0.02], rel=1e-12)


@pytest.mark.parametrize(("index", "expected"), [(0, 0.999900), (500, 0.077797), (999, 4.0358e-5)])
def test_alpha_bar_at_indices_of_the_literature(index, expected):
    assert float(LinearSchedule(1000).alpha_bar[index + 1]) == pytest.approx(expected, rel=2e-5)


def test_betas_are_scaled_by_1000_over_t():
    assert float(LinearSchedule(100).alpha_bar[-1]) == pytest.approx(2.04e-5, rel=1e-3)
    unscaled = LinearSchedule(100, beta_start=1e-5, beta_end=2e-3)
    assert float(unscaled.alpha_bar[-1]) == pytest.approx(0.364, abs=5e-4)


@pytest.mark.parametrize(
    "arguments",
    [{"steps": 20}, {"steps": 0}, {"steps": -5}, {"beta_start": 0.0}, {"beta_end": 1.0}],
)
def test_betas_that_do_not_fit_are_refused(arguments):
    with pytest.raises(ValueError, match=r"schedule\.steps"):
        LinearSchedule(**arguments)


def test_21_steps_are_the_fewest():
    assert LinearSchedule(21).betas.max() < 1


def test_a_single_step_is_refused_whatever_its_betas_are():
    with pytest.raises(ValueError, match=r"schedule\.steps must be at least 2, got 1"):
        LinearSchedule(1, 1e-5, 1e-4)
    assert LinearSchedule(2, 1e-5, 1e-4).betas.tolist() == pytest.approx([0.005, 0.05], rel=1e-12)
