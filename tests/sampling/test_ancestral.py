import pytest
import torch
from scipy import stats

from ancestral_sampler import ancestral
from diffusion_lab.distributions import Categorical
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps, GaussianPrediction
from diffusion_lab.processes import Gaussian, Process
from diffusion_lab.sampling import Ancestral, State, draw
from diffusion_lab.sampling.grids import UniformLogSNR
from diffusion_lab.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    EDMSchedule,
    FlowSchedule,
    GaussianSchedule,
    LinearSchedule,
)
from oracles import finite_data
from oracles import schedules as exact

STEPS = 1000
PROCESS = Gaussian(LinearSchedule(STEPS))
ALPHA_BAR = torch.tensor([float(a) for a in exact.linear(STEPS).alpha_bar], dtype=torch.float64)


class FixedNoise:
    """Stands in for Noise: `values` [B, *D], whatever is asked for."""

    def __init__(self, values):
        self.values = values

    def normal(self, shape):
        assert self.values.shape[1:] == tuple(shape)
        return self.values


def coefficients(index):
    """alpha and sigma [B, 1] at step indices [B] counted from 0."""
    alpha_bar = ALPHA_BAR[index.round().long() + 1][:, None]
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def variances(sampler):
    """The variance after each step, for data N(0, 1) with its exact denoiser eps = sigma z, from N(0, 1).

    The step is affine in the state and in the noise; steps from (0, no noise), (1, no noise) and
    (0, unit noise) give its coefficients, and the variance follows without Monte Carlo.
    """
    denoiser = Denoiser(lambda z, index, labels: coefficients(index)[1] * z, Eps(PROCESS))
    state = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
    noise = FixedNoise(torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64))
    variance, history = 1.0, []
    for t, s in sampler.steps:
        times = (torch.full((3,), time, dtype=torch.float64) for time in (t, s))
        offset, of_state, of_noise = sampler.step(State(state), *times, denoiser, noise).z[:, 0].tolist()
        assert offset == 0
        variance = of_state**2 * variance + of_noise**2
        history.append(variance)
    return history


def test_sigma2_beta_keeps_standard_normal_data_standard_normal():
    """Ho et al. 2020, section 3.2: σ² = β is right for x0 ~ N(0, 1). The last step adds no noise: 1 − β_1."""
    history = variances(ancestral(PROCESS, "beta"))
    assert len(history) == STEPS
    assert history[:-1] == pytest.approx([1.0] * (STEPS - 1), rel=1e-11)
    assert history[-1] == pytest.approx(1 - 1e-4, rel=1e-11)


def test_beta_tilde_loses_variance_of_standard_normal_data():
    assert variances(ancestral(PROCESS, "beta_tilde"))[-1] == pytest.approx(0.9911, abs=5e-5)


def test_fewer_steps_with_beta_still_keep_the_variance():
    """For any pair, σ²_{t|s} is what the step forward adds."""
    history = variances(ancestral(PROCESS, "beta", num_steps=10))
    assert history[:-1] == pytest.approx([1.0] * 9, rel=1e-11)
    assert history[-1] == pytest.approx(float(ALPHA_BAR[100]), rel=1e-11)


# The first point counts twice.
POINTS = torch.tensor(
    [
        [0.9, -0.2, 0.4, -0.7, 0.1],
        [0.9, -0.2, 0.4, -0.7, 0.1],
        [-0.5, 0.8, 0.3, 0.2, -0.9],
        [0.1, 0.6, -0.8, 0.5, 0.7],
    ],
    dtype=torch.float64,
)


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize(("variance", "num_steps"), [("beta", None), ("beta_tilde", None), ("beta_tilde", 100)])
def test_the_exact_denoiser_of_a_finite_data_set_returns_its_points(dim, variance, num_steps):
    points, n = POINTS[:, :dim], 400

    def network(z, index, labels):
        alpha, sigma = coefficients(index[:1])
        return finite_data.expected_noise(z, alpha.expand(len(z), 1), sigma.expand(len(z), 1), points)

    noise = Noise(torch.arange(n), 0, "finite")
    start = PROCESS.prior((dim,), noise.at("start")).double()
    samples = draw(Denoiser(network, Eps(PROCESS)), ancestral(PROCESS, variance, num_steps), start, noise)
    distance, nearest = torch.cdist(samples, points[1:]).min(1)
    assert distance.max() < 1e-4
    counts = torch.bincount(nearest, minlength=3).numpy()
    assert stats.chisquare(counts, [n / 2, n / 4, n / 4]).pvalue > 1e-3


def test_num_steps_respaces_the_grid():
    sampler = ancestral(PROCESS, num_steps=10)
    assert len(sampler.steps) == 10
    assert [round(t * STEPS) - 1 for t, _ in sampler.steps] == [
        999,
        899,
        799,
        699,
        599,
        499,
        399,
        299,
        199,
        99,
    ]
    assert len(ancestral(PROCESS).steps) == STEPS


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("row", [1, 100])
def test_the_step_to_time_0_is_the_predicted_data_without_noise(variance, row):
    denoiser = Denoiser(lambda z, index, labels: 0.3 * z, Eps(PROCESS))
    z, t = torch.linspace(-1, 1, 6).reshape(2, 3), torch.full((2,), row / STEPS, dtype=torch.float64)
    noise = FixedNoise(torch.full((2, 3), 100.0))
    after = ancestral(PROCESS, variance).step(State(z), t, torch.zeros_like(t), denoiser, noise)
    torch.testing.assert_close(after.z, denoiser(z, t).x0)
    assert after.z.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"variance": "learned"}, "sampler.variance"),
        ({"num_steps": 0}, "sampler.num_steps"),
        ({"num_steps": 1001}, "sampler.num_steps"),
        ({"num_steps": -1}, "sampler.num_steps"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, key):
    with pytest.raises(ValueError, match=key):
        ancestral(PROCESS, **arguments)


class Continuous(GaussianSchedule):
    """alpha = cos, sigma = sin of a right angle times t."""

    def alpha(self, t):
        return torch.cos(t * torch.pi / 2)

    def sigma(self, t):
        return torch.sin(t * torch.pi / 2)

    def d_alpha(self, t):
        return -self.sigma(t) * torch.pi / 2

    def d_sigma(self, t):
        return self.alpha(t) * torch.pi / 2

    def time(self, log_snr):
        return torch.atan(torch.exp(-log_snr / 2)) * 2 / torch.pi


def test_a_continuous_schedule_is_cut_into_as_many_steps_as_are_asked_for():
    process = Gaussian(Continuous())
    assert ancestral(process, num_steps=4).steps == [(1, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]
    with pytest.raises(ValueError, match=r"sampler\.num_steps must be given"):
        ancestral(process)


class Coins(Process):
    """A process that is not Gaussian: its posterior is a coin for each position."""

    schedule = LinearSchedule(100)

    def posterior(self, z_t, prediction, t, s):
        return Categorical(torch.full((*z_t.shape, 2), 0.5).log())

    sample = prior = prior_kl = transition = None


def test_any_process_is_sampled_by_its_posterior():
    drawn = draw(lambda *_: None, ancestral(Coins(), num_steps=2), torch.zeros(1000, 3), Noise(torch.arange(1000), 0))
    assert drawn.dtype == torch.int64
    assert drawn.double().mean().item() == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match=r"sampler\.variance=beta needs a Gaussian process"):
        ancestral(Coins(), "beta")


@pytest.mark.parametrize(
    ("schedule", "variance", "bounded", "warns"),
    [
        (CosineSchedule(1000), "beta", False, True),
        (CosineSchedule(1000), "beta", True, False),
        (CosineSchedule(1000), "beta_tilde", False, False),
        (LinearSchedule(1000), "beta", False, False),
    ],
)
def test_the_combination_that_is_known_to_diverge_is_warned_of(schedule, variance, bounded, warns):
    line = ancestral(Gaussian(schedule), variance).warning(bounded)
    assert (line is not None) == warns
    if warns:
        assert "31.6" in line
        assert "clip=x0" in line


@pytest.mark.parametrize(("factor", "warns"), [(9.9, False), (10.1, True)])
def test_a_first_step_that_multiplies_the_state_by_more_than_10_is_warned_of(factor, warns):
    schedule = DiscreteSchedule(torch.tensor([0.1, 1 - factor**-2], dtype=torch.float64))
    line = ancestral(Gaussian(schedule), "beta").warning(bounded=False)
    assert (line is not None) is warns


@pytest.mark.parametrize(("excess", "warns"), [(9e-4, False), (-9e-4, False), (1.1e-3, True), (-1.1e-3, True)])
def test_variance_that_is_off_by_more_than_a_thousandth_is_not_preserved(excess, warns):
    class Off(Continuous):
        def sigma(self, t):
            return (super().sigma(t) ** 2 + excess).clamp(min=0).sqrt()

    line = ancestral(Gaussian(Off()), "beta", 4).warning(bounded=True)
    assert (line is not None) is warns


def test_every_number_of_steps_of_a_short_schedule_is_possible():
    process = Gaussian(CosineSchedule(10))
    assert [len(ancestral(process, num_steps=n).steps) for n in range(1, 11)] == list(range(1, 11))


@pytest.mark.parametrize("schedule", [EDMSchedule(), FlowSchedule()])
def test_the_upper_bound_is_warned_of_where_variance_is_not_preserved(schedule):
    process = Gaussian(schedule)
    assert "take sampler.variance=beta_tilde" in ancestral(process, "beta", 10).warning(bounded=True)
    assert ancestral(process, "beta_tilde", 10).warning(bounded=True) is None
    assert ancestral(PROCESS, "beta").warning(bounded=True) is None


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_a_step_to_a_time_with_noise_adds_noise_also_at_time_0(variance):
    process = Gaussian(EDMSchedule(sigma_min=0.1))
    sampler = Ancestral(process, UniformLogSNR(process.schedule), variance, 10)
    t, s = (torch.full((2000,), time, dtype=torch.float64) for time in sampler.steps[-2])
    assert s[0] == 0

    def zero(z, t):
        return GaussianPrediction.of(process, z, t, torch.zeros_like(z), "x0")

    after = sampler.step(State(torch.zeros(2000, 1).double()), t, s, zero, Noise(torch.arange(2000), 0)).z
    expected = process.step_variance(t, s) if variance == "beta" else process.posterior_variance(t, s)
    assert float(after.std()) == pytest.approx(float(expected[0].sqrt()), rel=0.06)
