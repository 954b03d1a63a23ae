"""Inpainting of a pair of numbers that are correlated, with an exact denoiser: what it should draw is known."""

import itertools
import math

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling import DDIM, IPNDM, DPMSolverPP2M, Euler, Heun, RePaint, State, UniPC, draw
from diffusion_lab.sampling.grids import Karras, Trailing
from diffusion_lab.schedules import CosineSchedule, NoisyData
from grid_schedules import Exploding, Flow
from oracles.linear_draws import Impulses, moments

CORRELATION, KNOWN = 0.8, 1.5
#: Of the second number where the first one is known, both of variance 1 and mean 0.
MEAN, VARIANCE = CORRELATION * KNOWN, 1 - CORRELATION**2
#: What would be drawn without the first number.
UNCONDITIONED = 0.0

SECOND = torch.tensor([False, True])
DATA = torch.tensor([KNOWN, -7.0], dtype=torch.float64)


class ExactDenoiser:
    """E[x0 | z] of the pair: alpha S (alpha² S + sigma²)⁻¹ z, in the directions in which S is diagonal."""

    def __init__(self, process):
        self.process = process

    def __call__(self, z, t, condition=None):
        alpha, sigma = (per_sample(of(t), z) for of in (self.process.schedule.alpha, self.process.schedule.sigma))
        x0 = torch.zeros_like(z)
        for variance, direction in ((1 + CORRELATION, (1.0, 1.0)), (1 - CORRELATION, (1.0, -1.0))):
            unit = torch.tensor(direction, dtype=z.dtype) / math.sqrt(2)
            part = (z @ unit)[:, None] * unit
            x0 = x0 + alpha * variance / (alpha**2 * variance + sigma**2) * part
        return GaussianPrediction.of(self.process, z, t, x0, "x0")


def ddim(process, num_steps):
    return DDIM(process, Trailing(process.schedule), num_steps)


def beta_tilde(process, num_steps):
    return ancestral(process, "beta_tilde", num_steps)


def drawn(make, num_steps, jump_length, resamplings):
    """The mean and variance of the second number, exactly."""
    process = Gaussian(Flow())
    constraint = RePaint(process, DATA, SECOND, jump_length, resamplings)
    walk = constraint.walk(make(process, num_steps))
    noise = Impulses(2 * (2 * len(walk.steps) + 2))
    end = draw(
        ExactDenoiser(process), walk, process.prior((2,), noise.at("prior")).double(), noise, constraint=constraint
    )
    mean, covariance = moments(end)
    assert (float(mean[0]), float(covariance[0, 0])) == (KNOWN, 0)
    return float(mean[1]), float(covariance[1, 1])


@pytest.mark.parametrize("make", [beta_tilde, ddim])
@pytest.mark.parametrize("jump_length", [1, 5])
def test_the_more_it_resamples_the_nearer_is_what_it_draws_to_what_follows_from_the_known(make, jump_length):
    found = [drawn(make, 40, jump_length, resamplings) for resamplings in (1, 2, 4, 8)]
    errors = [abs(mean - MEAN) for mean, _ in found]
    assert errors[0] > 0.4  # without resampling it hardly regards the known one
    assert all(later < 0.75 * earlier for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 0.15
    assert abs(found[-1][1] - VARIANCE) < 0.09
    assert all(UNCONDITIONED < mean < MEAN for mean, _ in found)


def test_with_many_resamplings_of_many_steps_the_mean_is_within_4_percent():
    assert drawn(beta_tilde, 40, 1, 16)[0] == pytest.approx(MEAN, rel=0.04)


def test_random_draws_have_the_moments_that_are_computed():
    process, rows = Gaussian(Flow()), torch.arange(20_000)
    noise, constraint = Noise(rows, 0, "x"), RePaint(process, DATA, SECOND, 3, 2)
    walk = constraint.walk(beta_tilde(process, 12))
    start = process.prior((2,), noise.at("prior")).double()
    end = draw(ExactDenoiser(process), walk, start, noise, constraint=constraint)
    mean, variance = drawn(beta_tilde, 12, 3, 2)
    assert float(end[:, 1].mean()) == pytest.approx(mean, abs=0.02)
    assert float(end[:, 1].var()) == pytest.approx(variance, rel=0.04)


MANY = (DDIM, Heun, DPMSolverPP2M, UniPC, IPNDM, Euler)


@pytest.mark.parametrize("make", MANY)
@pytest.mark.parametrize(
    ("schedule", "grid", "spread"),
    [(Flow(), Trailing, 0), (Flow(), Trailing, 0.5), (Exploding(), Karras, 0), (CosineSchedule(100), Karras, 0)],
)
def test_with_any_sampler_known_data_is_there_to_the_bit_and_the_rest_is_new(make, schedule, grid, spread):
    """Also where the data itself is noisy on the way (Diffusion-LM's codes)."""
    process, known = Gaussian(schedule), torch.linspace(-1, 1, 8).reshape(2, 2, 2)
    unknown = torch.rand(2, 2, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    constraint = RePaint(Gaussian(NoisyData(schedule, spread)) if spread else process, known, unknown, 2, 2)
    walk = constraint.walk(make(process, grid(schedule), 8))

    def denoiser(z, t, condition):
        alpha, sigma = (per_sample(of(t), z) for of in (schedule.alpha, schedule.sigma))
        return GaussianPrediction.of(process, z, t, alpha * z / (alpha**2 + sigma**2), "x0")

    one, other = (
        draw(denoiser, walk, process.prior((2, 2, 2), noise.at("prior")), noise, constraint=constraint)
        for noise in (Noise(torch.arange(3), seed) for seed in (0, 1))
    )
    for end in (one, other):
        assert end.isfinite().all()
        assert torch.equal(end[:, ~unknown], known[~unknown].expand(3, -1))
    assert (one != other)[:, unknown].all()
    assert (one[0] != one[1])[unknown].all()


def test_on_the_way_the_known_part_is_the_data_noised_to_the_time_of_the_state():
    process, states = Gaussian(Flow()), []
    noise = Noise(torch.arange(20_000), 0)
    constraint = RePaint(process, DATA, SECOND, 2, 2)

    walk = constraint.walk(ddim(process, 6))
    start = process.prior((2,), noise.at("prior")).double()
    draw(ExactDenoiser(process), walk, start, noise, on_step=states.append, constraint=constraint)
    assert any(step.s > step.t for step in states)
    for step in states:
        assert float(step.z[:, 0].mean()) == pytest.approx((1 - step.s) * KNOWN, abs=0.03)
        assert float(step.z[:, 0].std()) == pytest.approx(step.s, abs=0.02)


@pytest.mark.parametrize(
    ("unknown", "says"),
    [
        (torch.zeros(2, dtype=torch.bool), "some is known and some is not"),
        (torch.ones(2, dtype=torch.bool), "some is known and some is not"),
        (torch.ones(3, dtype=torch.bool), r"shape \[2\] of the codes, got torch.bool of \[3\]"),
        (torch.ones(2), r"shape \[2\] of the codes, got torch.float32"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(unknown, says):
    with pytest.raises(ValueError, match=says):
        RePaint(Gaussian(Flow()), DATA, unknown)


def test_if_nothing_is_said_stretches_of_ten_steps_are_taken_ten_times():
    process = Gaussian(Flow())
    walk = RePaint(process, DATA, SECOND).walk(ddim(process, 25))
    assert walk.steps == RePaint(process, DATA, SECOND, 10, 10).walk(ddim(process, 25)).steps
    assert len(walk.steps) == 25 + 2 * 9 * (1 + 10)


@pytest.mark.parametrize("s", [None, 0.5])
def test_what_is_known_takes_the_precision_of_the_state(s):
    z, noise = torch.zeros(3, 2), Noise(torch.arange(3), 0)
    time = None if s is None else torch.full((3,), s, dtype=torch.float64)
    after = RePaint(Gaussian(Flow()), DATA, SECOND)(State(z, {"of": z}), time, noise)
    assert (after.z.dtype, after.history) == (torch.float32, {})
    assert not after.z[:, 1].any()
    assert (after.z[:, 0] == KNOWN).all() if s is None else len(after.z[:, 0].unique()) == 3
