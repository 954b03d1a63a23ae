import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import EDM, Denoiser, Eps, LearnedVariance, V
from diffusion_lab.parameterizations.learned_variance import log_variance_between
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import Ancestral, State
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import DiscreteSchedule, LinearSchedule

PROCESS = Gaussian(LinearSchedule(100))


def predicted(value, make=Eps):
    """What a network with `value` in the channels of the variance, and zeros in the others, says."""
    parameterization = LearnedVariance(PROCESS, make(PROCESS))
    return Denoiser(
        lambda x, c, labels: torch.cat([torch.zeros_like(x), torch.full_like(x, value)], 1), parameterization
    )


def rows(*numbers):
    return torch.tensor(numbers, dtype=torch.float64) / 100


@pytest.mark.parametrize(("value", "bound"), [(-1.0, PROCESS.posterior_variance), (1.0, PROCESS.step_variance)])
def test_its_two_ends_are_the_lower_and_the_upper_bound(value, bound):
    """Nichol & Dhariwal 2021, eq. 15."""
    t, s = rows(2, 50, 100), rows(1, 20, 99)
    prediction = predicted(value)(torch.randn(3, 1, 2, 2, dtype=torch.float64), t)
    expected = bound(t, s).log()[:, None, None, None].expand(3, 1, 2, 2)
    torch.testing.assert_close(prediction.log_variance(PROCESS, t, s), expected)


def test_where_the_lower_bound_is_0_that_of_the_step_before_stands_for_it():
    prediction = predicted(-1.0)(torch.zeros(1, 1, 1, 1, dtype=torch.float64), rows(1))
    found = prediction.log_variance(PROCESS, rows(1), rows(0))
    assert float(found) == pytest.approx(float(PROCESS.posterior_variance(rows(2), rows(1)).log()))


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_of_a_single_step_there_is_the_upper_bound_alone(value):
    process, one = Gaussian(DiscreteSchedule(torch.tensor([0.75], dtype=torch.float64))), rows(100)
    fraction = torch.full((1, 1), (value + 1) / 2, dtype=torch.float64)
    assert log_variance_between(process, fraction, one, rows(0)).exp().item() == pytest.approx(0.75, rel=1e-12)


@pytest.mark.parametrize("make", [Eps, V, EDM])
def test_the_data_is_that_of_the_other_parameterization(make):
    z, t = torch.randn(3, 2, 2, 2, dtype=torch.float64), rows(2, 50, 100)
    raw = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    parameterization = LearnedVariance(PROCESS, make(PROCESS))
    assert parameterization.outputs_per_channel == 2
    prediction = parameterization.prediction(raw, z, t)
    torch.testing.assert_close(prediction.x0, make(PROCESS).prediction(raw[:, :2], z, t).x0)
    torch.testing.assert_close(prediction.fraction, (raw[:, 2:] + 1) / 2)
    noised = PROCESS.sample(torch.randn(3, 2, 2, 2, dtype=torch.float64), t, Noise(torch.arange(3), 0))
    assert torch.equal(parameterization.target(noised), make(PROCESS).target(noised))
    assert torch.equal(parameterization.data_error(t), make(PROCESS).data_error(t))
    assert parameterization.divides_by_alpha is make(PROCESS).divides_by_alpha
    assert torch.equal(prediction.with_x0(z).fraction, prediction.fraction)
    for ours, theirs in zip(parameterization.network_input(z, t), make(PROCESS).network_input(z, t), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("value", "variance"), [(-1.0, "beta_tilde"), (1.0, "beta")])
def test_ancestral_sampling_uses_it(value, variance):
    denoiser, grid = predicted(value), Trailing(PROCESS.schedule)
    learned = Ancestral(PROCESS, grid, "learned", 10, denoiser.parameterization)
    fixed = Ancestral(PROCESS, grid, variance, 10)
    z, noise = torch.randn(2, 1, 2, 2, dtype=torch.float64), Noise(torch.arange(2), 0)
    for pair in learned.steps:
        t, s = (torch.full((2,), time, dtype=torch.float64) for time in pair)
        ours, theirs = (sampler.step(State(z), t, s, denoiser, noise).z for sampler in (learned, fixed))
        torch.testing.assert_close(ours, theirs)


def test_ancestral_sampling_cannot_use_what_is_not_learned():
    with pytest.raises(ValueError, match=r"sampler\.variance=learned needs parameterization=learned_variance"):
        Ancestral(PROCESS, Trailing(PROCESS.schedule), "learned", 10, Eps(PROCESS))
