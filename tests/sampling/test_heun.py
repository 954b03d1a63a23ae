import math

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, Heun, draw
from diffusion_lab.sampling.grids import Karras, Trailing
from diffusion_lab.schedules import CosineSchedule, LinearSchedule, SigmoidSchedule
from grid_schedules import Exploding, Flow, Preserving
from oracles.gaussian_ode import VARIANCE, ExactDenoiser, error, evaluations, orders


def test_its_error_is_that_of_the_closed_form_and_falls_with_order_2():
    assert [error(Heun, n) for n in (20, 40, 80)] == pytest.approx([1.78e-2, 4.17e-3, 1.01e-3], rel=4e-3)
    assert orders(Heun) == pytest.approx([2, 2], abs=0.06)


def test_it_evaluates_the_network_twice_for_each_step_but_the_last():
    assert evaluations(Heun, 18, Exploding(), Karras) == 35
    assert evaluations(Heun, 5, LinearSchedule(), Trailing) == 9


def test_a_step_from_pure_noise_is_one_of_ddim():
    """At alpha = 0 the state has no scale in sigma/alpha: one evaluation there, too."""
    assert evaluations(Heun, 5, Flow(), Trailing) == 8
    assert error(Heun, 200, Flow()) < 1e-3


@pytest.mark.parametrize("schedule", [CosineSchedule(), SigmoidSchedule(), LinearSchedule(zero_terminal_snr=True)])
@pytest.mark.parametrize("steps", [10, 20, 50])
def test_it_leaves_no_noise_behind_where_nearly_no_signal_is_left_at_the_start(schedule, steps):
    """It is at least as near to the data's standard deviation as DDIM."""
    process = Gaussian(schedule)
    start = process.prior((1,), Noise(torch.arange(4000), 0)).double()

    def std(make):
        sampler = make(process, Trailing(schedule), steps)
        return float(draw(ExactDenoiser(process), sampler, start, Noise(torch.arange(4000), 1)).std())

    ours, theirs = (abs(std(make) - math.sqrt(VARIANCE)) for make in (Heun, DDIM))
    assert ours < theirs


@pytest.mark.parametrize("schedule", [Exploding(), Preserving(10.0, -10.0)])
def test_with_churn_the_samples_have_the_distribution_of_the_data(schedule):
    """Noise that is added and removed by an exact denoiser leaves N(0, 0.25) as it is."""
    process, rows = Gaussian(schedule), torch.arange(20_000)
    noise = Noise(rows, 0, "churn")
    start = process.prior((1,), noise.at("prior")).double()
    sampler = Heun(process, Karras(schedule), 60, churn=20.0)
    samples = draw(ExactDenoiser(process), sampler, start, noise)
    assert float(samples.std()) == pytest.approx(math.sqrt(VARIANCE), rel=0.03)
    plain = draw(ExactDenoiser(process), Heun(process, Karras(schedule), 60), start, noise)
    again = torch.corrcoef(torch.stack([samples[:, 0], plain[:, 0]]))[0, 1]
    assert abs(float(again)) < 0.95  # it is random


def test_churn_noise_is_the_scale_of_what_churn_adds():
    process, start = Gaussian(Exploding()), torch.zeros(4, 1, dtype=torch.float64)

    def churned(scale):
        seen, exact = [], ExactDenoiser(process)
        sampler = Heun(process, Karras(process.schedule), 10, churn=20.0, churn_noise=scale)
        sampler.steps = [(0.5, 0.4)]
        draw(lambda z, t, condition: seen.append(z) or exact(z, t), sampler, start, Noise(torch.arange(4), 0))
        return seen[0]

    assert bool((churned(1.0) != 0).all())
    torch.testing.assert_close(churned(1.5), 1.5 * churned(1.0))
    assert torch.equal(churned(0.0), start)


def test_churn_is_only_added_between_its_bounds():
    process, noise = Gaussian(Exploding()), Noise(torch.arange(4), 0)
    start = torch.ones(4, 1, dtype=torch.float64)
    draws = [
        draw(ExactDenoiser(process), Heun(process, Karras(process.schedule), 10, **more), start, noise)
        for more in ({}, {"churn": 20.0, "churn_min": 1e6}, {"churn": 20.0, "churn_max": 1e-9}, {"churn": 20.0})
    ]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])
    assert not torch.allclose(draws[0], draws[3])


@pytest.mark.parametrize(
    ("bounds", "churned"),
    [((1, 1), True), ((0, 1), True), ((1, math.inf), True), ((0, 1 - 1e-9), False), ((1 + 1e-9, math.inf), False)],
)
@pytest.mark.parametrize("schedule", [Exploding(), Preserving()])
def test_the_bounds_of_churn_are_between_its_bounds(schedule, bounds, churned):
    """In units of the noise level at which the step starts; and churn goes on at a higher one, 1 + churn times as high.

    It is all of √2 − 1 where there is more churn for each step.
    """
    start, noise, seen = torch.zeros(4, 1, dtype=torch.float64), Noise(torch.arange(4), 0), []
    process, t = Gaussian(schedule), torch.tensor([0.5], dtype=torch.float64)
    level, exact = schedule.sigma(t) / schedule.alpha(t), ExactDenoiser(process)
    low, high = (float(bound * level) for bound in bounds)
    for amount in (1.0, 20.0):
        sampler = Heun(process, Karras(schedule), 10, churn=amount, churn_min=low, churn_max=high)
        sampler.steps = [(0.5, 0.4)]
        draw(lambda z, t, condition: seen.append((z, t)) or exact(z, t), sampler, start, noise)
    for (z, earlier), factor in zip(seen[::2], (1.1, math.sqrt(2)), strict=True):
        raised = level * factor if churned else level
        alpha, sigma = schedule.alpha(earlier), schedule.sigma(earlier)
        torch.testing.assert_close(sigma / alpha, raised.expand(4), rtol=1e-12, atol=0)
        added = alpha * (raised**2 - level**2).sqrt()
        torch.testing.assert_close(z, added[:, None] * noise.at("step", 0).normal((1,)))


@pytest.mark.parametrize("name", ["churn", "churn_min", "churn_noise"])
def test_amounts_of_noise_are_not_negative(name):
    with pytest.raises(ValueError, match=rf"sampler\.{name} must be 0 or more, got -1"):
        Heun(Gaussian(Flow()), Trailing(Flow()), 5, **{name: -1.0})


def test_noise_levels_between_which_there_are_none_and_endless_noise_are_refused():
    with pytest.raises(ValueError, match=r"sampler\.churn_min must not be above churn_max, got 5\.0 and 1\.0"):
        Heun(Gaussian(Flow()), Trailing(Flow()), 5, 10.0, churn_min=5.0, churn_max=1.0)
    with pytest.raises(ValueError, match=r"sampler\.churn_noise must be finite"):
        Heun(Gaussian(Flow()), Trailing(Flow()), 5, 10.0, churn_noise=math.inf)
