"""Linear, cosine and sigmoid in continuous time, compared with 50 digits and with their processes of many steps."""

import itertools

import pytest
import torch
from mpmath import mp, mpf

from diffusion_lab.parameterizations import Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, IPNDM, DPMSolverPP2M, Heun, UniPC
from diffusion_lab.schedules import CosineSchedule, LinearSchedule, SigmoidSchedule
from oracles import gaussian_ode
from oracles.schedules import DIGITS, relative_error

KINDS = [LinearSchedule, CosineSchedule, SigmoidSchedule]
#: Each with and without signal at the end, and with other arguments than the defaults.
SCHEDULES = {
    "linear": LinearSchedule(None),
    "linear, no signal": LinearSchedule(None, zero_terminal_snr=True),
    "linear, falling rate": LinearSchedule(None, 0.03, 0.001),
    "cosine": CosineSchedule(None),
    "cosine, no signal": CosineSchedule(None, zero_terminal_snr=True),
    "cosine, no offset": CosineSchedule(None, offset=0.0, zero_terminal_snr=True),
    "sigmoid": SigmoidSchedule(None),
    "sigmoid, no signal": SigmoidSchedule(None, zero_terminal_snr=True),
    "sigmoid, steep": SigmoidSchedule(None, 0.0, 3.0, 0.3),
}
T = torch.linspace(0, 1, 1001, dtype=torch.float64)
#: Near both ends, too, where digits cancel.
PLACES = (1e-9, 1e-5, 1e-3, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 2**-10, 1 - 2**-20)

each = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def linear(t, first="0.1", last="20", zero=False):
    """alpha² of Song et al. 2021, eq. 33, shifted and scaled as in Lin et al. 2023 with `zero`."""
    first, growth = mpf(first), mpf(last) - mpf(first)
    alpha = [mp.exp(-(u**2) * growth / 4 - u * first / 2) for u in (t, mpf(1))]
    return ((alpha[0] - alpha[1]) / (1 - alpha[1]) if zero else alpha[0]) ** 2


def cosine(t, offset="0.008"):
    """Nichol & Dhariwal 2021, eq. 17."""
    offset = mpf(offset)
    f = [mp.cos((u + offset) / (1 + offset) * mp.pi / 2) ** 2 for u in (t, mpf(0))]
    return f[0] / f[1]


def sigmoid(t, start="-3", end="3", temperature="1"):
    """Chen 2023, algorithm 1."""
    start, end = mpf(start), mpf(end)
    low, high, here = (1 / (1 + mp.exp(-u / mpf(temperature))) for u in (start, end, start + t * (end - start)))
    return (high - here) / (high - low)


def ended(alpha_bar):
    """Time ends where 0.001 of the signal after 999 of 1000 steps is left."""
    last = mpf("0.001") * alpha_bar(mpf(999) / 1000)
    end = mp.findroot(lambda t: alpha_bar(t) / last - 1, (mpf("0.9999"), mpf("0.9999999")), tol=1e-40)
    return lambda t: alpha_bar(t * end)


def exact(name):
    """alpha² [0, 1] → [0, 1] to 50 digits."""
    return {
        "linear": linear,
        "linear, no signal": lambda t: linear(t, zero=True),
        "linear, falling rate": lambda t: linear(t, "30", "1"),
        "cosine": ended(cosine),
        "cosine, no signal": cosine,
        "cosine, no offset": lambda t: cosine(t, "0"),
        "sigmoid": ended(sigmoid),
        "sigmoid, no signal": sigmoid,
        "sigmoid, steep": ended(lambda t: sigmoid(t, "0", "3", "0.3")),
    }[name]


@pytest.mark.parametrize("name", SCHEDULES)
def test_all_coefficients_and_slopes_agree_with_50_digits(name):
    schedule, t = SCHEDULES[name], torch.tensor(PLACES, dtype=torch.float64)
    found = [of(t).tolist() for of in (schedule.alpha, schedule.sigma, schedule.d_alpha, schedule.d_sigma)]
    log_snr = schedule.log_snr(t).tolist()
    with mp.workdps(DIGITS):
        alpha_bar = exact(name)
        for place, values, ratio in zip(PLACES, zip(*found, strict=True), log_snr, strict=True):
            of = lambda u: mp.sqrt(alpha_bar(u))  # noqa: E731
            rest = lambda u: mp.sqrt(1 - alpha_bar(u))  # noqa: E731
            here = mpf(place)
            expected = [of(here), rest(here), mp.diff(of, here, h=1e-20), mp.diff(rest, here, h=1e-20)]
            for value, target in zip(values, expected, strict=True):
                # The place where time ends is a float: no more digits than it has are left near the end.
                assert relative_error(value, target) < 1e-11 / min(place, 1 - place, 1e-3) * 1e-3 + 1e-12
            assert abs(ratio - 2 * mp.log(of(here) / rest(here))) < 1e-9


@each
def test_time_inverts_the_log_snr_and_takes_what_is_beyond_it_for_the_nearest_end(schedule):
    torch.testing.assert_close(schedule.time(schedule.log_snr(T)), T, rtol=0, atol=1e-13)
    beyond = torch.tensor([torch.inf, 1000.0, -1000.0, -torch.inf], dtype=torch.float64)
    torch.testing.assert_close(
        schedule.time(beyond), torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-13
    )
    outside = torch.tensor([-0.5, 1.5], dtype=torch.float64)
    assert torch.equal(schedule.log_snr(outside), schedule.log_snr(T[[0, -1]]))


@each
def test_it_begins_with_clean_data_and_the_log_snr_falls(schedule):
    assert (float(schedule.alpha(T)[0]), float(schedule.sigma(T)[0])) == (1, 0)
    assert schedule.ends_clean
    assert (schedule.steps, schedule.betas, schedule.alpha_bar) == (None, None, None)
    assert schedule.prior_std == 1
    log_snr = schedule.log_snr(T)
    assert bool((log_snr.diff() < 0).all())
    torch.testing.assert_close(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=1e-15)
    for of in (schedule.d_alpha, schedule.d_sigma):
        assert not bool(of(T).isnan().any())


@pytest.mark.parametrize("kind", KINDS)
def test_with_zero_terminal_snr_no_signal_is_left_and_else_as_much_as_after_1000_steps(kind):
    one = torch.ones((), dtype=torch.float64)
    assert float(kind(None, zero_terminal_snr=True).alpha(one)) == 0
    signal = float(kind(None).log_snr(one))
    assert signal == pytest.approx(float(kind(1000).log_snr(one)), abs=0.07 if kind is LinearSchedule else 1e-9)
    Eps(Gaussian(kind(None)))  # which can then be predicted
    with pytest.raises(ValueError, match="leaves no signal at t = 1"):
        Eps(Gaussian(kind(None, zero_terminal_snr=True)))


def test_max_beta_says_how_much_signal_is_left_at_the_end():
    one = torch.ones((), dtype=torch.float64)
    for kind in (CosineSchedule, SigmoidSchedule):
        found, steps = (kind(steps, max_beta=0.9).log_snr(one) for steps in (None, 1000))
        assert float(found) == pytest.approx(float(steps), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_limit_of_many_steps(kind):
    """The difference falls as 1/T, and for the sigmoid, whose last alpha vanishes as a root, as 1/√T."""
    inner = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    limit = kind(None, zero_terminal_snr=True).log_snr(inner)
    errors = [
        float((kind(steps, zero_terminal_snr=True).log_snr(inner) - limit).abs().max()) for steps in (1000, 2000, 4000)
    ]
    assert errors[0] < 0.05
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(2**0.5 if kind is SigmoidSchedule else 2, rel=0.02)


def test_with_signal_at_the_end_linear_is_a_limit_too_and_others_are_rows_of_any_process():
    inner = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    errors = [
        (LinearSchedule(n).log_snr(inner) - LinearSchedule(None).log_snr(inner)).abs().max() for n in (1000, 2000)
    ]
    assert float(errors[0] / errors[1]) == pytest.approx(2, rel=0.02)
    for kind in (CosineSchedule, SigmoidSchedule):
        for max_beta, error in ((0.999, 2e-3), (1 - 1e-15, 1e-8)):  # which says where time ends
            rows, continuous = (kind(steps, max_beta=max_beta).log_snr(inner) for steps in (20, None))
            torch.testing.assert_close(rows, continuous, rtol=0, atol=error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("make", [DDIM, Heun, DPMSolverPP2M, UniPC, IPNDM])
def test_every_solver_comes_nearer_to_the_exact_solution_with_more_steps(kind, zero, make):
    """Over the whole of time, also from where no signal is left."""
    schedule = kind(None, zero_terminal_snr=zero)
    few, many = (gaussian_ode.error(make, count, schedule) for count in (15, 90))
    assert few < 0.15
    assert many < few / 4


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@each
def test_coefficients_have_the_shape_of_t_and_are_float64(schedule, shape):
    t = torch.full(shape, 0.25)  # of float32
    for of in (schedule.alpha, schedule.sigma, schedule.d_alpha, schedule.d_sigma, schedule.log_snr, schedule.time):
        assert of(t).shape == shape
        assert of(t).dtype == torch.float64


def test_networks_are_told_1000_times_the_time():
    torch.testing.assert_close(LinearSchedule(None).c_noise(T), 1000 * T)


def test_its_curves_are_alpha_and_sigma():
    schedule = CosineSchedule(None)
    alpha, sigma = schedule.curves()
    for curve in (alpha, sigma):
        assert torch.equal(curve.x, torch.linspace(0, 1, 501, dtype=torch.float64))
    assert torch.equal(alpha.y, schedule.alpha(alpha.x))
    assert torch.equal(sigma.y, schedule.sigma(sigma.x))
    assert [(curve.title, curve.x_label, curve.y_label) for curve in (alpha, sigma)] == [
        ("factor of the data", "time t", r"$\alpha(t)$"),
        ("standard deviation of the noise", "time t", r"$\sigma(t)$"),
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LinearSchedule(None, 0.0, 0.02), r"schedule\.steps=null: the betas, of 1000 steps, run from 0 to"),
        (lambda: LinearSchedule(None, 1e-4, 1.0), r"schedule\.steps=null.*take smaller betas"),
        (lambda: CosineSchedule(None, offset=-0.1), r"schedule\.offset >= 0"),
        (lambda: CosineSchedule(None, max_beta=1.0), r"schedule\.max_beta < 1"),
        (lambda: SigmoidSchedule(None, 3.0, -3.0), r"schedule\.start < schedule\.end"),
        (lambda: SigmoidSchedule(None, temperature=1e-4), "falls too fast"),
    ],
)
def test_arguments_out_of_range_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
