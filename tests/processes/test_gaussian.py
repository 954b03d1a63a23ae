import math

import numpy as np
import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps, GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import draw
from diffusion_lab.schedules import CosineSchedule, DiscreteSchedule, GaussianSchedule, LinearSchedule
from oracles import bayes
from oracles import schedules as exact
from pretended_device import There, pretended_device

TABLES = {"linear": exact.linear(1000), "cosine": exact.cosine(1000)}
PROCESSES = {"linear": Gaussian(LinearSchedule(1000)), "cosine": Gaussian(CosineSchedule(1000))}


def posterior(process, z_t, x0, t, s):
    """The posterior for predicted data x0."""
    return process.posterior(z_t, GaussianPrediction.of(process, z_t, t, x0, "x0"), t, s)


def rows(*numbers):
    """Times of rows of a table of 1000 steps."""
    return torch.tensor(numbers, dtype=torch.float64) / 1000


@pytest.fixture(params=["linear", "cosine"])
def name(request):
    return request.param


def test_worked_example():
    """x0 = 0.8, alpha_bar = 0.5, eps = 0.3: x_t = √0.5 · 0.8 + √0.5 · 0.3 = 0.778."""
    process = Gaussian(DiscreteSchedule(torch.tensor([0.5])))
    noised = process.mix(torch.tensor([[0.8]]), torch.tensor([1.0]), torch.tensor([[0.3]]))
    assert noised.z_t.item() == pytest.approx(0.778, abs=5e-4)
    assert noised.z_t.item() == pytest.approx(0.5**0.5 * 1.1, rel=1e-6)


def test_mix_is_affine_in_data_and_noise(name):
    n = [0, 1, 2, 500, 999, 1000]
    eye = torch.eye(2, dtype=torch.float64)
    z0, eps = eye[0].repeat(len(n), 1), eye[1].repeat(len(n), 1)
    noised = PROCESSES[name].mix(z0, rows(*n), eps)
    expected = [[float(TABLES[name].alpha_bar[k]) ** 0.5, float(TABLES[name].sigma2[k]) ** 0.5] for k in n]
    torch.testing.assert_close(noised.z_t, torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=0)
    assert noised.z0 is z0
    assert noised.eps is eps


def test_sample_is_the_mix_of_the_noise_that_it_reports():
    process, noise = PROCESSES["linear"], Noise(torch.arange(6), 0)
    z0, t = torch.linspace(-1, 1, 24).reshape(6, 1, 2, 2), rows(1, 100, 300, 500, 900, 1000)
    noised = process.sample(z0, t, noise)
    assert torch.equal(noised.eps, noise.normal((1, 2, 2)))
    assert torch.equal(noised.z_t, process.mix(z0, t, noised.eps).z_t)
    alone = process.sample(z0[2:3], t[2:3], Noise(torch.tensor([2]), 0))
    torch.testing.assert_close(alone.z_t, noised.z_t[2:3])


def test_prior_is_the_standard_normal_of_its_noise():
    noise = Noise(torch.arange(5), 3)
    assert torch.equal(PROCESSES["linear"].prior((1, 4, 4), noise), noise.normal((1, 4, 4)))


@pytest.mark.parametrize("n", [(2, 1), (500, 499), (1000, 999), (1000, 1), (700, 200), (3, 1), (1000, 900)])
@pytest.mark.parametrize(("x0", "eps"), [(0.8, -0.4), (-1.0, 2.5), (0.0, 0.3)])
def test_posterior_is_bayes_rule(name, n, x0, eps):
    """For neighbouring rows and for skipped ones, against quadrature over z_s."""
    t, s = n
    alpha_bar = [float(TABLES[name].alpha_bar[k]) for k in n]
    z_t = alpha_bar[0] ** 0.5 * x0 + (1 - alpha_bar[0]) ** 0.5 * eps
    mean, variance = bayes.posterior(z_t, x0, *alpha_bar)
    found = posterior(
        PROCESSES[name],
        torch.tensor([[z_t]], dtype=torch.float64),
        torch.tensor([[x0]], dtype=torch.float64),
        rows(t),
        rows(s),
    )
    assert found.mean.item() == pytest.approx(mean, rel=1e-8, abs=1e-9)
    assert found.std.item() ** 2 == pytest.approx(variance, rel=1e-7)


@pytest.mark.parametrize("t", [1, 2, 500, 1000])
def test_posterior_at_time_0_is_the_data_itself(name, t):
    z_t, x0 = torch.tensor([[-3.0]]), torch.tensor([[0.7]])
    found = posterior(PROCESSES[name], z_t, x0, rows(t), rows(0))
    assert found.std.item() == 0
    assert found.mean.item() == pytest.approx(0.7, rel=1e-6)


def test_chained_single_steps_make_the_marginal(name):
    """Mean and variance carried through all 1000 transitions (DDPM eq. 2) land on eq. 4 at every row."""
    n = torch.arange(1, 1001, dtype=torch.float64)
    transition = PROCESSES[name].transition(torch.ones(1000, 1, dtype=torch.float64), (n - 1) / 1000, n / 1000)
    mean, variance = 1.0, 0.0
    for row, (factor, std) in enumerate(zip(transition.mean, transition.std, strict=True), start=1):
        mean, variance = float(factor) * mean, float(factor) ** 2 * variance + float(std) ** 2
        assert mean == pytest.approx(float(TABLES[name].alpha_bar[row]) ** 0.5, rel=1e-11)
        assert variance == pytest.approx(float(TABLES[name].sigma2[row]), rel=1e-11)


def test_step_variance_of_neighbours_is_beta(name):
    n = torch.arange(1, 1001, dtype=torch.float64)
    step = PROCESSES[name].step_variance(n / 1000, (n - 1) / 1000)
    expected = torch.tensor([float(beta) for beta in TABLES[name].betas], dtype=torch.float64)
    torch.testing.assert_close(step, expected, rtol=1e-10, atol=0)


def test_step_variance_of_skipped_rows_is_1_minus_the_ratio_of_alpha_bars(name):
    pairs = [(1000, 900), (700, 200), (100, 0), (1000, 0), (3, 1)]
    t, s = (rows(*n) for n in zip(*pairs, strict=True))
    a = TABLES[name].alpha_bar
    expected = torch.tensor([float(1 - a[t] / a[s]) for t, s in pairs], dtype=torch.float64)
    torch.testing.assert_close(PROCESSES[name].step_variance(t, s), expected, rtol=1e-11, atol=0)


def ddpm(name):
    """Betas, alphas, alpha_bar_t and alpha_bar_{t−1} for t = 1..T, as DDPM writes them."""
    betas = np.array([float(beta) for beta in TABLES[name].betas])
    alpha_bar = np.array([float(a) for a in TABLES[name].alpha_bar])
    return betas, 1 - betas, alpha_bar[1:], alpha_bar[:-1]


def posteriors(name, z_t, x0):
    """Posteriors of all 1000 single steps, for states and data [1000]."""
    n = torch.arange(1, 1001, dtype=torch.float64)
    z_t, x0 = torch.from_numpy(z_t)[:, None], torch.from_numpy(x0)[:, None]
    return posterior(PROCESSES[name], z_t, x0, n / 1000, (n - 1) / 1000)


def test_posterior_variance_is_beta_tilde(name):
    """Ho et al. 2020, eq. 7, right."""
    betas, _, bar, bar_before = ddpm(name)
    n = torch.arange(1, 1001, dtype=torch.float64)
    variance = PROCESSES[name].posterior_variance(n / 1000, (n - 1) / 1000)
    np.testing.assert_allclose(variance, betas * (1 - bar_before) / (1 - bar), rtol=1e-9)
    assert variance[0] == 0


def test_posterior_mean_is_that_of_ddpm(name):
    """Ho et al. 2020, eq. 7, left."""
    betas, alphas, bar, bar_before = ddpm(name)
    z_t, x0 = np.linspace(-3, 3, 1000), np.cos(np.arange(1000.0))
    expected = np.sqrt(bar_before) * betas / (1 - bar) * x0 + np.sqrt(alphas) * (1 - bar_before) / (1 - bar) * z_t
    np.testing.assert_allclose(posteriors(name, z_t, x0).mean[:, 0], expected, rtol=1e-9, atol=1e-10)


def test_posterior_mean_of_predicted_noise_is_that_of_algorithm_2(name):
    """Ho et al. 2020, eq. 11: (x − β/√(1−ᾱ) ε)/√α, where ε implies x0."""
    betas, alphas, bar, _ = ddpm(name)
    z_t, eps = np.linspace(-3, 3, 1000), np.cos(np.arange(1000.0))
    x0 = (z_t - np.sqrt(1 - bar) * eps) / np.sqrt(bar)
    expected = (z_t - betas / np.sqrt(1 - bar) * eps) / np.sqrt(alphas)
    np.testing.assert_allclose(posteriors(name, z_t, x0).mean[:, 0], expected, rtol=1e-9, atol=1e-9)


def test_a_normal_draws_mean_plus_std_times_its_noise():
    found = posterior(PROCESSES["linear"], torch.ones(1, 3), torch.zeros(1, 3), rows(600), rows(500))
    noise = Noise(torch.arange(1), 0)
    assert torch.equal(found.sample(noise), found.mean + found.std * noise.normal((3,)))


def test_the_posterior_has_the_variance_that_posterior_variance_says(monkeypatch):
    """One derivation: who mends the one method mends sampling."""
    process = Gaussian(LinearSchedule(1000))
    monkeypatch.setattr(process, "posterior_variance", lambda t, s: torch.full_like(t, 9.0))
    assert posterior(process, torch.ones(1, 3), torch.zeros(1, 3), rows(600), rows(500)).std.item() == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_keep_their_dtype(dtype):
    """Times are float64: they must not promote float32 images."""
    process, noise = PROCESSES["linear"], Noise(torch.arange(2), 0)
    z, t, s = torch.zeros(2, 1, 4, 4, dtype=dtype), rows(600, 1000), rows(500, 0)
    noised, transition, back = (
        process.sample(z, t, noise),
        process.transition(z, s, t),
        posterior(process, z, z, t, s),
    )
    for image in (noised.z_t, noised.eps, transition.mean, transition.std, back.mean, back.std, back.sample(noise)):
        assert image.dtype == dtype
    assert transition.mean.shape == back.mean.shape == noised.z_t.shape == z.shape


def test_each_sample_has_its_own_time():
    process = PROCESSES["linear"]
    z, x0, t, s = torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2), rows(10, 600, 1000), rows(0, 100, 900)
    together = posterior(process, z, x0, t, s)
    for k in range(3):
        alone = posterior(process, z[k : k + 1], x0[k : k + 1], t[k : k + 1], s[k : k + 1])
        torch.testing.assert_close(together.mean[k : k + 1], alone.mean)
        torch.testing.assert_close(together.std[k : k + 1], alone.std)


class Exploding(GaussianSchedule):
    """alpha = 1 and sigma from 0.01 to 50: variance explodes (Song et al. 2021)."""

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return 0.01 * 5000**t

    def d_alpha(self, t):
        return torch.zeros_like(t)

    def d_sigma(self, t):
        return self.sigma(t) * math.log(5000)

    def time(self, log_snr):
        return (-log_snr / 2 - math.log(0.01)) / math.log(5000)


class Flow(GaussianSchedule):
    """alpha = 1 − t and sigma = t: the log-SNR is infinite at both ends (Lipman et al. 2023)."""

    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return t

    def d_alpha(self, t):
        return -torch.ones_like(t)

    def d_sigma(self, t):
        return torch.ones_like(t)

    def time(self, log_snr):
        return torch.sigmoid(-log_snr / 2)


def test_the_prior_has_the_scale_of_the_process():
    noise = Noise(torch.arange(5), 3)
    assert torch.equal(Gaussian(Flow()).prior((1, 4), noise), noise.normal((1, 4)))
    torch.testing.assert_close(Gaussian(Exploding()).prior((1, 4), noise), 50 * noise.normal((1, 4)))


def test_data_keeps_its_scale_when_variance_explodes():
    """Ancestral steps with the exact denoiser of data N(0, 0.25) end at a standard deviation of 0.5."""
    process = Gaussian(Exploding())

    def network(z, c_noise, condition):
        sigma = process.schedule.sigma(c_noise[:, None].double() / 1000)
        return (sigma * z / (0.25 + sigma**2)).to(z)

    sampler = ancestral(process, num_steps=200)
    noise = Noise(torch.arange(4000), 0)
    samples = draw(Denoiser(network, Eps(process)), sampler, process.prior((1,), noise.at("prior")), noise)
    assert samples.std().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("schedule", [Flow(), Exploding(), LinearSchedule(1000)], ids=lambda s: type(s).__name__)
def test_prior_kl_is_that_of_two_normal_distributions(schedule):
    process, z0 = Gaussian(schedule), torch.tensor([[0.5, -1.0, 0.0], [2.0, 1.0, 1.0]])
    one = torch.ones((), dtype=torch.float64)
    q = torch.distributions.Normal(schedule.alpha(one) * z0.double(), schedule.sigma(one).expand(2, 3))
    p = torch.distributions.Normal(torch.zeros(2, 3).double(), schedule.prior_std)
    expected = torch.distributions.kl_divergence(q, p).sum(1)
    for shape in ((2, 3), (2, 3, 1)):
        torch.testing.assert_close(process.prior_kl(z0.view(shape)), expected, rtol=1e-9, atol=1e-9)


ZERO_SNR = DiscreteSchedule(torch.tensor([0.1, 0.3, 0.6, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("schedule", [Flow(), ZERO_SNR], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.75), (1.0, 0.0), (0.75, 0.0), (1.0, 0.9)])
def test_an_infinite_log_snr_makes_no_nan(schedule, t, s):
    process, z = Gaussian(schedule), torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    t, s = torch.tensor([t], dtype=torch.float64), torch.tensor([s], dtype=torch.float64)
    found = posterior(process, z, 0.5 * z, t, s)
    forward = process.transition(z, s, t)
    for value in (found.mean, found.std, forward.mean, forward.std, process.step_variance(t, s)):
        assert bool(value.isfinite().all())
    if s == 0:
        torch.testing.assert_close(found.mean, 0.5 * z)
    if t == 1:  # nothing of z_t says anything: the posterior is the marginal of the predicted data
        torch.testing.assert_close(found.mean, schedule.alpha(s) * 0.5 * z)
        torch.testing.assert_close(found.std, schedule.sigma(s)[:, None])


@pytest.mark.parametrize("schedule", [LinearSchedule(50), LinearSchedule(None)])
def test_everything_is_on_the_device_of_the_data(schedule):
    process = Gaussian(schedule)
    with pretended_device() as device:
        noise = Noise(torch.arange(2, device=device), 0)
        s, t = (torch.full((2,), time, dtype=torch.float64, device=device) for time in (0.2, 0.8))
        z0 = process.prior((3,), noise)
        z_t = process.sample(z0, t, noise.at("noise")).z_t
        for found in (
            z0, z_t, process.prior_kl(z0), process.transition(z0, s, t).sample(noise), process.step_variance(t, s),
            posterior(process, z_t, z0, t, s).sample(noise), process.posterior_variance(t, s),
        ):  # fmt: skip
            assert isinstance(found, There)
