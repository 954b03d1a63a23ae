import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from diffusion_lab.codecs import Pixels
from diffusion_lab.distributions import Normal as LabNormal
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import UniformTimes, VariationalBound, bound_term
from diffusion_lab.parameterizations import GaussianPrediction, LearnedVariance, V
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.schedules import CosineSchedule, FlowSchedule, LinearSchedule
from oracles import finite_data

#: Two images of one pixel, of 8 bits.
POINTS = torch.tensor([[-64 / 127.5], [64 / 127.5]], dtype=torch.float64)


def exact(process, z, t):
    alpha, sigma = (per_sample(of(t), z) for of in (process.schedule.alpha, process.schedule.sigma))
    return GaussianPrediction.of(process, z, t, finite_data.expected_data(z, alpha, sigma, POINTS), "x0")


def bound(steps, variance, batch=400):
    """The whole bound in bits, with the exact denoiser: a mean over the noise, at every step."""
    process = Gaussian(CosineSchedule(steps))
    z0 = POINTS[torch.arange(batch) % 2]
    total = float(process.prior_kl(z0).mean()) / math.log(2)
    for row in range(1, steps + 1):
        t = torch.full((batch,), row / steps, dtype=torch.float64)
        z_t = process.sample(z0, t, Noise(torch.arange(batch), 0, row)).z_t
        total += float(bound_term(process, Pixels(), z0, t, exact(process, z_t, t), variance).mean())
    return total


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_it_bounds_the_exact_nll_and_comes_nearer_with_more_steps(variance):
    """Two equally likely images: 1 bit. What is left is the decoder's: at the first step they are not yet apart."""
    few, some, many = (bound(steps, variance, batch=100) for steps in (10, 40, 160))
    assert 1 < many < some < few


def test_the_first_term_is_the_surprise_at_the_data():
    process = Gaussian(LinearSchedule(100))
    t = torch.full((2,), 0.01, dtype=torch.float64)
    prediction = exact(process, POINTS + 0.01, t)
    mean = process.posterior(prediction.z_t, prediction, t, 0 * t).mean
    for variance, std in (
        ("beta", process.step_variance(t, 0 * t)),
        ("beta_tilde", process.posterior_variance(2 * t, t)),
    ):
        decoder = LabNormal(mean, std.sqrt()[:, None])
        expected = -Pixels().log_likelihood(POINTS, decoder) / math.log(2)
        torch.testing.assert_close(bound_term(process, Pixels(), POINTS, t, prediction, variance), expected)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde", "learned"])
def test_its_terms_are_divergences_of_normal_distributions_per_dimension(variance):
    process = Gaussian(LinearSchedule(100))
    t = torch.tensor([2, 50, 100], dtype=torch.float64) / 100
    s = t - 0.01
    z0, z_t = torch.rand(3, 1, 2, 2, dtype=torch.float64), torch.randn(3, 1, 2, 2, dtype=torch.float64)
    raw = torch.randn(3, 2, 2, 2, dtype=torch.float64)
    prediction = LearnedVariance(process, V(process)).prediction(raw, z_t, t)
    squared = prediction.log_variance(process, t, s).exp()
    if variance != "learned":
        prediction = V(process).prediction(raw[:, :1], z_t, t)
        of = process.step_variance if variance == "beta" else process.posterior_variance
        squared = of(t, s)[:, None, None, None].expand_as(z0)
    theirs = process.posterior(z_t, prediction, t, s)
    true = process.posterior(z_t, prediction.with_x0(z0), t, s)
    divergence = kl_divergence(Normal(true.mean, true.std.expand_as(z0)), Normal(theirs.mean, squared.sqrt()))
    expected = divergence.flatten(1).mean(1) / math.log(2)
    kind = "beta" if variance == "learned" else variance
    torch.testing.assert_close(bound_term(process, Pixels(), z0, t, prediction, kind), expected)


def test_the_loss_is_t_times_a_term_so_that_its_mean_is_the_bound():
    process = Gaussian(CosineSchedule(50))
    z0 = POINTS[torch.arange(20_000) % 2]
    objective = VariationalBound(process, V(process), Pixels())
    noise = Noise(torch.arange(20_000), 0)
    t = UniformTimes(process, 20_000, stratified=True)(noise.at("time"))

    def denoiser(z, t, condition):
        return exact(process, z, t)

    loss = objective(denoiser, z0, t, noise)["loss"]
    assert loss.dtype == torch.float32
    assert float(loss.mean()) == pytest.approx(
        bound(50, "beta") - float(process.prior_kl(z0).mean()) / math.log(2), rel=0.05
    )


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_its_gradient_is_finite_at_every_step_also_for_outputs_far_off(scale):
    process = Gaussian(CosineSchedule(4))
    parameterization = LearnedVariance(process, V(process))
    generator = torch.Generator().manual_seed(0)
    z0 = torch.rand(400, 1, 2, 2, generator=generator, dtype=torch.float64) * 2 - 1
    raw = (scale * torch.randn(400, 2, 2, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    t = (torch.arange(400) % 4 + 1).double() / 4
    z_t = process.sample(z0, t, Noise(torch.arange(400), 0)).z_t
    bound_term(process, Pixels(), z0, t, parameterization.prediction(raw, z_t, t)).sum().backward()
    assert bool(raw.grad.isfinite().all())


def test_it_needs_steps():
    process = Gaussian(FlowSchedule())
    with pytest.raises(ValueError, match=r"objective=vlb and objective=hybrid need a schedule of T steps"):
        VariationalBound(process, V(process), Pixels())
    t = torch.full((2,), 0.5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"the variational bound needs a schedule with steps \(schedule\.steps\)"):
        bound_term(process, Pixels(), POINTS, t, exact(process, POINTS, t))


def test_a_codec_may_say_in_single_precision_how_probable_the_data_is():
    class Single(Pixels):
        def log_likelihood(self, x, z0):
            return super().log_likelihood(x, z0).float()

    process, t = Gaussian(LinearSchedule(100)), torch.full((2,), 0.01, dtype=torch.float64)
    prediction = exact(process, POINTS + 0.01, t)
    found, expected = (bound_term(process, codec, POINTS, t, prediction) for codec in (Single(), Pixels()))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
