from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import LinearSchedule

#: Variance is preserved in the first two rows, and not in the last two (flow path, variance exploding).
ALPHA = torch.tensor([[0.9], [0.006], [0.3], [1.0]], dtype=torch.float64)
SIGMA = torch.tensor([[0.19**0.5], [(1 - 0.006**2) ** 0.5], [0.7], [20.0]], dtype=torch.float64)
X0 = torch.tensor([[0.3, -1.0], [0.7, 0.1], [-0.2, 0.4], [0.0, 1.0]], dtype=torch.float64)
EPS = torch.tensor([[1.0, 0.2], [-0.7, 3.0], [0.5, -1.5], [2.0, 0.1]], dtype=torch.float64)
Z = ALPHA * X0 + SIGMA * EPS
GIVEN = {"x0": X0, "eps": EPS, "v": ALPHA * EPS - SIGMA * X0}


@pytest.mark.parametrize("kind", GIVEN)
def test_every_form_follows_from_every_other(kind):
    prediction = GaussianPrediction(Z, ALPHA, SIGMA, GIVEN[kind], kind)
    torch.testing.assert_close(prediction.x0, X0, rtol=0, atol=1e-11)
    torch.testing.assert_close(prediction.eps, EPS, rtol=0, atol=1e-11)
    torch.testing.assert_close(prediction.v, GIVEN["v"], rtol=0, atol=1e-11)
    torch.testing.assert_close(prediction.score, -EPS / SIGMA, rtol=0, atol=1e-11)
    assert getattr(prediction, kind) is GIVEN[kind]


def test_the_score_is_the_gradient_of_the_log_density_of_a_point():
    """For data that is one point x0, z_t is normal around alpha x0."""
    z = Z.clone().requires_grad_()
    log_density = torch.distributions.Normal(ALPHA * X0, SIGMA.expand_as(X0)).log_prob(z).sum()
    (gradient,) = torch.autograd.grad(log_density, z)
    torch.testing.assert_close(GaussianPrediction(Z, ALPHA, SIGMA, X0, "x0").score, gradient)


@dataclass(frozen=True)
class WithVariance(GaussianPrediction):
    variance: Tensor


@pytest.mark.parametrize("kind", GIVEN)
def test_other_data_keeps_what_else_was_predicted(kind):
    variance = torch.ones_like(X0)
    prediction = WithVariance(Z, ALPHA, SIGMA, GIVEN[kind], kind, variance)
    assert prediction.x0 is not None  # asked for before it is replaced
    clipped = prediction.with_x0(X0.clamp(-0.25, 0.25))
    assert isinstance(clipped, WithVariance)
    assert clipped.variance is variance
    assert torch.equal(clipped.x0, X0.clamp(-0.25, 0.25))
    torch.testing.assert_close(ALPHA * clipped.x0 + SIGMA * clipped.eps, Z, rtol=0, atol=1e-11)


def test_without_noise_clipped_data_makes_no_noise_that_is_no_number():
    """At t = 0 of a schedule with sigma(0) = 0: clipped data is not that of z_t, and nothing can make up for it."""
    z = torch.tensor([[0.5, 2.0]])
    prediction = GaussianPrediction(z, torch.ones(1, 1), torch.zeros(1, 1), z, "v").with_x0(z.clamp(-1, 1))
    assert prediction.eps.tolist() == [[0, 0]]


def test_coefficients_are_those_of_the_schedule_in_the_dtype_of_the_state():
    process, t = Gaussian(LinearSchedule(1000)), torch.tensor([0.1, 1.0], dtype=torch.float64)
    z = torch.zeros(2, 1, 4, 4)
    prediction = GaussianPrediction.of(process, z, t, z, "v")
    torch.testing.assert_close(prediction.alpha.flatten(), process.schedule.alpha(t).float())
    torch.testing.assert_close(prediction.sigma.flatten(), process.schedule.sigma(t).float())
    assert prediction.x0.dtype == prediction.eps.dtype == torch.float32
