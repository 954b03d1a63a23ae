"""What holds for every schedule of T steps."""

import pytest
import torch

from diffusion_lab.schedules import CosineSchedule, DiscreteSchedule, LinearSchedule
from oracles import schedules as exact

SCHEDULES = [
    pytest.param(LinearSchedule(1000), exact.linear(1000), id="linear 1000"),
    pytest.param(LinearSchedule(100), exact.linear(100), id="linear 100"),
    pytest.param(CosineSchedule(1000), exact.cosine(1000), id="cosine 1000"),
    pytest.param(CosineSchedule(10), exact.cosine(10), id="cosine 10"),
]


ZERO_SNR = DiscreteSchedule(torch.tensor([0.1, 0.3, 0.6, 1.0], dtype=torch.float64))
ONE_STEP = DiscreteSchedule(torch.tensor([1.0], dtype=torch.float64))


def grid(schedule):
    """The times n/T of rows 0..T."""
    return torch.arange(schedule.steps + 1, dtype=torch.float64) / schedule.steps


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_every_row_agrees_with_50_digits(schedule, table):
    t = grid(schedule)
    rows = range(1, schedule.steps + 1)

    def worst(values, expected):
        return max(exact.relative_error(float(values[n]), expected[n]) for n in rows)

    assert worst(schedule.alpha_bar, table.alpha_bar) < 1e-12
    assert worst(schedule.alpha(t) ** 2, table.alpha_bar) < 1e-12
    assert worst(schedule.sigma(t) ** 2, table.sigma2) < 1e-12
    log_snr = schedule.log_snr(t)
    assert max(abs(float(log_snr[n]) - table.log_snr[n]) for n in rows) < 1e-12


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_time_0_is_clean_data_and_time_1_the_last_row(schedule, table):
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert schedule.alpha(t)[0] == 1
    assert schedule.sigma(t)[0] == 0
    assert schedule.log_snr(t)[0] == torch.inf
    assert float(schedule.log_snr(t)[1]) == pytest.approx(float(table.log_snr[-1]), rel=1e-12)
    assert schedule.alpha_bar[0] == 1
    assert len(schedule.alpha_bar) == schedule.steps + 1 == len(schedule.betas) + 1


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_times_beyond_the_ends_are_the_ends(schedule, table):
    t = torch.tensor([-0.5, 0.0, 1.0, 1.5], dtype=torch.float64)
    for of in (schedule.alpha, schedule.sigma, schedule.log_snr):
        assert torch.equal(of(t)[[0, 3]], of(t)[[1, 2]])


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_variance_is_preserved_and_snr_is_their_ratio(schedule, table):
    t = torch.linspace(0, 1, 2311, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t), rtol=0, atol=1e-15)
    torch.testing.assert_close((alpha**2 / sigma**2).log(), schedule.log_snr(t), rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1000, 100, 30, 49])
def test_a_time_computed_as_n_over_t_is_row_n_whatever_its_last_bit(steps):
    schedule = LinearSchedule(steps)
    n = torch.arange(steps + 1, dtype=torch.float64)
    exactly = schedule.log_snr(n / steps)
    assert torch.equal(exactly, schedule.log_snr(n * (1 / steps)))
    assert torch.equal(exactly, schedule.log_snr(1 - (steps - n) / steps))
    in_python = torch.tensor([k / steps for k in range(steps + 1)], dtype=torch.float64)
    assert torch.equal(exactly, schedule.log_snr(in_python))
    ulps = torch.nextafter(n / steps, torch.ones_like(n)), torch.nextafter(n / steps, torch.zeros_like(n))
    assert torch.equal(exactly, schedule.log_snr(ulps[0]))
    assert torch.equal(exactly, schedule.log_snr(ulps[1]))


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_between_rows_the_log_snr_is_interpolated_linearly(schedule, table):
    rows = grid(schedule)[1:]
    at_rows = schedule.log_snr(rows)
    for fraction in (0.1, 0.5, 0.9):
        between = rows[:-1] + fraction / schedule.steps
        expected = (1 - fraction) * at_rows[:-1] + fraction * at_rows[1:]
        torch.testing.assert_close(schedule.log_snr(between), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_before_row_1_the_variance_is_interpolated_linearly(schedule, table):
    fraction = torch.tensor([1e-6, 0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(
        schedule.sigma(fraction / schedule.steps) ** 2, fraction * float(table.sigma2[1]), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_log_snr_falls_strictly(schedule, table):
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    assert bool((schedule.log_snr(t).diff() < 0).all())


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_time_inverts_log_snr_on_and_off_the_grid(schedule, table):
    for t in (grid(schedule), torch.linspace(0, 1, 3001, dtype=torch.float64)):
        torch.testing.assert_close(schedule.time(schedule.log_snr(t)), t, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_time_of_a_log_snr_out_of_range_is_the_nearest_end(schedule, table):
    log_snr = torch.tensor([torch.inf, 800.0, -60.0, -torch.inf], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(schedule.time(log_snr), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("schedule", "table"), SCHEDULES)
def test_networks_are_told_the_index_from_0_to_t_minus_1(schedule, table):
    expected = torch.arange(-1, schedule.steps, dtype=torch.float64)
    torch.testing.assert_close(schedule.c_noise(grid(schedule)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("schedule", [LinearSchedule(1000), CosineSchedule(10), ZERO_SNR, ONE_STEP])
def test_derivatives_are_those_of_central_differences(schedule):
    """Off the grid, since at a row the slope changes."""
    t = (torch.arange(schedule.steps, dtype=torch.float64)[:, None] + torch.tensor([0.2, 0.5, 0.8])) / schedule.steps
    step = 1e-4 / schedule.steps
    for of, derivative in ((schedule.alpha, schedule.d_alpha), (schedule.sigma, schedule.d_sigma)):
        expected = (of(t + step) - of(t - step)) / (2 * step)
        torch.testing.assert_close(derivative(t), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("schedule", [LinearSchedule(1000), ZERO_SNR, ONE_STEP])
def test_no_coefficient_is_nan_at_either_end_or_in_between(schedule):
    t = torch.linspace(0, 1, 4 * schedule.steps + 1, dtype=torch.float64)
    functions = (
        schedule.alpha, schedule.sigma, schedule.log_snr, schedule.signal, schedule.d_alpha, schedule.d_sigma,
        schedule.c_noise,
    )  # fmt: skip
    for of in (*functions, lambda t: schedule.time(schedule.log_snr(t))):
        assert not bool(of(t).isnan().any())


def test_a_last_beta_of_1_leaves_no_signal():
    t = torch.tensor([0.75, 0.875, 1.0], dtype=torch.float64)
    before = float(ZERO_SNR.alpha_bar[3])
    expected = torch.tensor([before, before / 2, 0.0], dtype=torch.float64)  # alpha² falls linearly
    torch.testing.assert_close(ZERO_SNR.alpha(t) ** 2, expected, rtol=1e-12, atol=0)
    assert ZERO_SNR.log_snr(t)[-1] == -torch.inf
    torch.testing.assert_close(ZERO_SNR.time(ZERO_SNR.log_snr(t)), t, rtol=0, atol=1e-12)


def test_curves_are_the_betas_and_what_is_left_after_each_step():
    betas, signal = LinearSchedule(50).curves()
    assert betas.y.tolist() == LinearSchedule(50).betas.tolist()
    assert signal.y.tolist() == LinearSchedule(50).alpha_bar[1:].tolist()
    assert betas.x.tolist() == signal.x.tolist() == list(range(50))
    assert [(curve.title, curve.x_label, curve.y_label) for curve in (betas, signal)] == [
        ("noise added at each step", "step index t", r"$\beta_t$"),
        ("signal that is left", "step index t", r"$\bar\alpha_t$"),
    ]


def test_a_tiny_variance_keeps_its_digits():
    """1 − exp(log alpha_bar) would keep seven of them."""
    schedule = DiscreteSchedule(torch.tensor([1e-9, 2e-9], dtype=torch.float64))
    t = torch.tensor([0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([1e-9, 3e-9 - 2e-18], dtype=torch.float64)
    torch.testing.assert_close(schedule.sigma(t) ** 2, expected, rtol=1e-13, atol=0)


def test_one_step_is_a_schedule():
    schedule = DiscreteSchedule(torch.tensor([0.75]))
    t = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(schedule.sigma(t) ** 2, 0.75 * t)
    torch.testing.assert_close(schedule.time(schedule.log_snr(t)), t)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_coefficients_have_the_shape_of_t_and_are_float64(shape):
    t = torch.full(shape, 0.25, dtype=torch.float64)
    schedule = LinearSchedule(100)
    for value in (
        schedule.alpha(t),
        schedule.sigma(t),
        schedule.log_snr(t),
        schedule.time(schedule.log_snr(t)),
    ):
        assert value.shape == shape
        assert value.dtype == torch.float64


def test_times_and_log_snrs_of_single_precision_are_calculated_with_in_double_precision():
    schedule, t = LinearSchedule(100), torch.tensor([0.003, 0.3, 0.777, 12.0])
    for of in (
        schedule.alpha, schedule.sigma, schedule.d_alpha, schedule.d_sigma, schedule.log_snr, schedule.time,
        schedule.c_noise,
    ):  # fmt: skip
        assert torch.equal(of(t), of(t.double()))


@pytest.mark.parametrize(
    "betas", [[1.0, 0.1], [0.1, 1.1], [0.0, 0.1], [0.1, 0.0], [-0.1], [0.1, torch.nan], [torch.nan, 0.1]]
)
def test_betas_outside_0_to_1_are_refused(betas):
    with pytest.raises(ValueError, match="every beta must lie strictly between 0 and 1"):
        DiscreteSchedule(torch.tensor(betas, dtype=torch.float64))


def test_results_that_are_remembered_are_those_of_the_times_that_are_asked_for():
    schedule, fresh = LinearSchedule(50), lambda t: LinearSchedule(50).log_snr(t)
    times = [torch.tensor([n / 50, n / 100], dtype=torch.float64) for n in range(1, 12)]
    for t in [*times, *times[::-1], *times[:3], *times[:3]]:
        assert torch.equal(schedule.log_snr(t), fresh(t))
    t = times[0].clone()
    schedule.log_snr(t)
    t += 0.5
    assert torch.equal(schedule.log_snr(t), fresh(t))
    assert torch.equal(schedule.log_snr(t[:1]), fresh(t[:1]))
    assert torch.equal(schedule.log_snr(t.float()), fresh(t.float()))


def test_what_was_remembered_while_sampling_can_be_trained_with():
    schedule, t = LinearSchedule(50), torch.tensor([0.5], dtype=torch.float64)
    with torch.inference_mode():
        schedule.log_snr(t)
    weight = torch.ones(1, requires_grad=True, dtype=torch.float64)
    (weight * schedule.sigma(t)).backward()
    assert torch.equal(weight.grad, schedule.sigma(t))


def test_times_on_another_device_are_not_held_against_those_on_the_cpu():
    schedule, t = LinearSchedule(50), torch.tensor([0.5], dtype=torch.float64)
    assert schedule.log_snr(t.to("meta")).device.type == "meta"
    assert torch.equal(schedule.log_snr(t), LinearSchedule(50).log_snr(t))
