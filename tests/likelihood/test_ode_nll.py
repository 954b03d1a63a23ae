"""The likelihood of the ODE against the exact flow of Gaussian data."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from diffusion_lab.codecs import Pixels
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood import OdeNLL, ode_nll
from diffusion_lab.likelihood.ode_nll import OdeResult
from diffusion_lab.parameterizations import X0, Eps, LearnedVariance, V, Velocity
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, FlowSchedule, LinearSchedule
from exact_pipelines import Density, pipeline_of
from oracles.gaussian_data import ExactNetwork, GaussianData

DATA = GaussianData([0.2, -0.3, 0.0, 0.1], [0.04, 0.01, 0.02, 0.03], seed=1)
X = DATA.sample(6, seed=2)
#: The schedule, the parameterization and what its network puts out, and the prior's standard deviation where
#: alpha² + sigma² = 1.
MODELS = {
    "linear": (LinearSchedule(None), Eps, "eps", 1.0),
    "linear in 1000 steps": (LinearSchedule(1000), Eps, "eps", 1.0),
    "no signal at the end": (CosineSchedule(None, zero_terminal_snr=True), V, "v", 1.0),
    "no signal at the end of 100 steps": (LinearSchedule(100, zero_terminal_snr=True), X0, "x0", 1.0),
    "edm": (EDMSchedule(), X0, "x0", 80 / math.hypot(1, 80)),
    "edm that ends early": (EDMSchedule(0.01, 2.0), Eps, "eps", 2 / math.hypot(1, 2)),
    "flow": (FlowSchedule(), Velocity, "velocity", 1.0),
    "flow, data": (FlowSchedule(), X0, "x0", 1.0),
}


def pipeline(schedule=None, parameterization=V, kind="v", data=DATA, codec=None, num_classes=None):
    process = Gaussian(schedule or LinearSchedule(None))
    network = ExactNetwork(process, data, kind)
    codec = codec or Density()
    return pipeline_of(network, parameterization(process), codec, (1, 1, 4), num_classes)


def nats(result):
    """Of the density of each item, from its bits."""
    return -(result.bits + Density.bits_of_spacing).numpy() * math.log(2) * result.dimensions


@pytest.mark.parametrize("name", MODELS)
def test_it_is_exact_on_gaussian_data(name):
    schedule, parameterization, kind, prior_std = MODELS[name]
    estimate = OdeNLL(rtol=1e-7, atol=1e-7, trace="exact", min_noise=0.12)
    result = estimate.of(pipeline(schedule, parameterization, kind), Density.quantized(X))
    one = torch.ones((), dtype=torch.float64)
    end = math.atan2(float(schedule.sigma(one)), float(schedule.alpha(one)))
    expected = DATA.ode_log_density(X, math.atan(0.12), end, prior_std)
    np.testing.assert_allclose(nats(result), expected, atol=2e-5)


def test_with_little_noise_at_the_start_it_is_the_density_of_the_data():
    result = OdeNLL(rtol=1e-6, atol=1e-6, trace="exact", min_noise=1e-3).of(pipeline(), Density.quantized(X))
    np.testing.assert_allclose(nats(result), DATA.log_density(X), atol=0.006)  # the rest is of the noise, and the prior


def test_a_mixture_of_gaussians_has_its_density():
    """Two narrow peaks in one dimension, where the velocity is not linear."""
    means, std = np.array([-0.5, 0.4]), 0.05

    class Mixture(GaussianData):
        def expected_data(self, z, alpha, sigma):
            of = torch.from_numpy(means).to(z)
            variance = alpha**2 * std**2 + sigma**2
            weights = torch.softmax(-((z - alpha * of) ** 2) / (2 * variance), dim=1)
            each = of + alpha * std**2 / variance * (z - alpha * of)
            return (weights * each).sum(1, keepdim=True)

    x = np.array([[-0.55], [-0.1], [0.0], [0.43]])
    model = pipeline(FlowSchedule(), X0, "x0", data=Mixture([0.0], [1.0]))
    result = OdeNLL(rtol=1e-6, atol=1e-6, trace="exact", min_noise=1e-3).of(model, Density.quantized(x))
    expected = np.log(stats.norm(means, std).pdf(x).mean(1))
    np.testing.assert_allclose(nats(result), expected, atol=0.02, rtol=0.002)


@pytest.mark.parametrize("trace", ["rademacher", "normal"])
def test_hutchinsons_estimate_agrees_with_the_exact_trace_within_its_error(trace):
    items = Density.quantized(DATA.sample(30, seed=3))
    exact = OdeNLL(trace="exact", min_noise=0.03).of(pipeline(), items)
    for probes in (2, 8):
        found = OdeNLL(trace=trace, probes=probes, min_noise=0.03).of(pipeline(), items)
        difference = found.bits - exact.bits
        assert abs(float(difference.mean())) < 3 * found.trace_error
        assert found.trace_error == pytest.approx(float(difference.std()) / math.sqrt(30), rel=0.4)
    assert exact.trace_error is None
    assert OdeNLL(trace=trace, min_noise=0.1).of(pipeline(), items[:2]).trace_error is None


def test_rademacher_probes_are_exact_where_dimensions_are_independent():
    """All of their variance lies off the diagonal; that of normal probes does not."""
    data = GaussianData(DATA.mean, DATA.variances)
    items = Density.quantized(data.sample(3, seed=3))
    exact, rademacher, normal = (
        OdeNLL(trace=trace, min_noise=0.01).of(pipeline(data=data), items).bits
        for trace in ("exact", "rademacher", "normal")
    )
    torch.testing.assert_close(rademacher, exact, atol=1e-4, rtol=0)
    assert float((normal - exact).abs().max()) > 0.1


def test_two_tolerances_agree_and_the_tighter_one_takes_more_evaluations():
    items = Density.quantized(X)
    loose, tight = (OdeNLL(rtol=tol, atol=tol, min_noise=0.002).of(pipeline(), items) for tol in (1e-4, 1e-7))
    assert float((loose.bits - tight.bits).abs().max()) < 2e-3
    assert tight.evaluations > 2 * loose.evaluations


def test_an_item_does_not_depend_on_the_others():
    items = Density.quantized(DATA.sample(9, seed=4))
    options = {"rtol": 1e-4, "atol": 1e-4, "min_noise": 0.01}
    whole = OdeNLL(**options, batch_size=9).of(pipeline(), items)
    for batch_size in (1, 4):
        found = OdeNLL(**options, batch_size=batch_size).of(pipeline(), items)
        torch.testing.assert_close(found.bits, whole.bits, atol=1e-9, rtol=0)  # far below the tolerance
        assert found.evaluations == whole.evaluations
    some = OdeNLL(**options, num_items=4).of(pipeline(), items)
    torch.testing.assert_close(some.bits, whole.bits[some.rows], atol=1e-9, rtol=0)


def test_the_network_is_evaluated_in_batches_of_the_size_that_is_asked_for():
    model = pipeline()
    result = OdeNLL(batch_size=5, min_noise=0.01).of(model, Density.quantized(DATA.sample(12, seed=4)))
    batches = model.network.batches
    assert max(batches) == 5
    assert sum(batches) == round(result.evaluations * 12)
    assert batches[:-80].count(5) == len(batches[:-80])  # the place of an item that is done is taken by the next


def test_pixels_have_a_bound_on_the_probability_of_their_interval():
    """On smooth data the bound is nearly exact: log p(x) is the mean of the density over the interval of 2/255."""
    data = GaussianData([0.0, 0.1, -0.2, 0.0], [0.04] * 4)
    pixels = torch.from_numpy((data.sample(150, seed=5) * 127.5 + 127.5).round().clip(0, 255) / 127.5 - 1)
    result = OdeNLL(rtol=1e-4, atol=1e-4, batch_size=150).of(
        pipeline(data=data, codec=Pixels()), pixels[:, None, None, :]
    )
    normal = stats.norm(data.mean, 0.2)
    exact = -np.log2(normal.cdf(pixels + 1 / 255) - normal.cdf(pixels - 1 / 255)).mean(1)
    difference = result.bits.numpy() - exact
    assert abs(difference.mean()) < 0.004
    assert result.min_noise == pytest.approx(2 / 255 / math.sqrt(12))


def test_the_noise_within_an_interval_is_as_wide_as_it_is():
    """On data about as narrow as an interval, where the mean of its logarithm of the density tells."""
    data, half = GaussianData([0.1] * 4, [0.005**2] * 4), 1 / 255
    pixels = torch.from_numpy((data.sample(60, seed=6) * 127.5 + 127.5).round() / 127.5 - 1)
    result = OdeNLL(rtol=1e-4, atol=1e-4).of(pipeline(data=data, codec=Pixels()), pixels[:, None, None, :])
    variance = 0.005**2 + half**2 / 3  # of the data, and of the noise where the ODE starts
    error = (pixels - 0.1).square().mean(1) + half**2 / 3  # that of data with uniform noise, on average
    expected = (math.log(2 * math.pi * variance) + error / variance) / 2 / math.log(2) - math.log2(2 * half)
    difference = result.bits - expected
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / math.sqrt(60) < 0.15


def test_the_noise_of_a_process_of_steps_starts_at_its_first():
    schedule = LinearSchedule(100)
    result = OdeNLL(trace="exact").of(pipeline(schedule), Density.quantized(X))
    assert result.min_noise == pytest.approx(math.sqrt(0.001 / 0.999))


def test_labels_reach_the_network():
    other = GaussianData([-0.5, 0.5, 0.3, -0.4], [0.02, 0.05, 0.02, 0.01], seed=7)
    items, labels = Density.quantized(np.concatenate([X[:2], other.sample(2, seed=8)])), torch.tensor([0, 0, 1, 1])
    estimate = OdeNLL(trace="exact", min_noise=0.12)
    both = estimate.of(pipeline(data=[DATA, other], num_classes=2), items, labels)
    apart = [estimate.of(pipeline(data=data), items).bits for data in (DATA, other)]
    torch.testing.assert_close(both.bits, torch.where(labels == 0, *apart), atol=1e-9, rtol=0)


def test_a_learned_variance_is_not_needed():
    process = Gaussian(LinearSchedule(100))
    network = ExactNetwork(process, DATA, "v")
    parameterization = LearnedVariance(process, V(process))
    twice = pipeline_of(network, parameterization, Density(), (1, 1, 4))
    network.forward = lambda x, c, condition=None: torch.cat([type(network).forward(network, x, c), x], dim=1)
    items, estimate = Density.quantized(X), OdeNLL(trace="exact")
    torch.testing.assert_close(estimate.of(twice, items).bits, estimate.of(pipeline(LinearSchedule(100)), items).bits)


def test_weights_that_are_not_finite_are_an_error():
    model = pipeline()
    model.network.weight.data.fill_(math.nan)
    with pytest.raises(LabError, match="is not finite"):
        OdeNLL(min_noise=0.01).of(model, Density.quantized(X))


def test_the_result_tells_how_it_was_made():
    result = OdeNLL(rtol=1e-3, atol=1e-4, probes=2, min_noise=0.01).of(pipeline(), Density.quantized(X))
    content = result.as_dict()
    assert content["bits_per_dim"] == pytest.approx(float(result.bits.mean()))
    assert content["bits_per_dim_error"] == pytest.approx(float(result.bits.std()) / math.sqrt(6))
    assert content["trace_error"] > 0
    assert (content["rtol"], content["atol"], content["num_items"], content["dimensions"]) == (1e-3, 1e-4, 6, 4)
    assert f"{result.mean:.4f} ± {result.standard_error:.4f} bits/dim over 6 items" in result.summary()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rtol": 0}, "rtol and atol must be at least 1e-12"),
        ({"rtol": 1}, "rtol and atol must be at least 1e-12"),
        ({"atol": 0}, "rtol and atol must be at least 1e-12"),
        ({"atol": 1}, "rtol and atol must be at least 1e-12"),
        ({"probes": 0}, "probes must lie between 1 and 1000"),
        ({"probes": 1001}, "probes must lie between 1 and 1000"),
        ({"min_noise": 0}, "min_noise must be above 0"),
        ({"num_items": 1}, "num_items must be at least 2"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 1025}, "batch_size must be at most 1024"),
    ],
)
def test_what_is_out_of_range_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        OdeNLL(**options)


def test_an_exact_trace_of_many_dimensions_is_refused():
    with pytest.raises(LabError, match="trace=exact is for items of at most 4096 dimensions, got 4097"):
        OdeNLL(trace="exact", min_noise=0.01).of(pipeline(), torch.zeros(2, 1, 1, 4097))


def test_an_exact_trace_of_the_most_dimensions_is_allowed(monkeypatch):
    for trace, most in (("exact", 4), ("rademacher", 3)):
        monkeypatch.setattr(ode_nll, "_MOST_EXACT", most)
        estimate = OdeNLL(trace=trace, rtol=0.1, atol=0.1, min_noise=0.1)
        assert estimate.of(pipeline(), Density.quantized(X[:2])).dimensions == 4


@pytest.mark.parametrize(("schedule", "noise"), [(EDMSchedule(), 0.001), (LinearSchedule(1000), 0.009), (None, 1e9)])
def test_noise_that_the_network_does_not_know_is_refused(schedule, noise):
    with pytest.raises(LabError, match=r"min_noise=.* is no sigma/alpha of the schedule"):
        OdeNLL(min_noise=noise).of(pipeline(schedule), Density.quantized(X))


def test_the_edges_of_the_ranges_are_within_them():
    for options in ({"rtol": 1e-12, "atol": 1e-12}, {"probes": 1000}, {"batch_size": 1024}, {"num_items": 2}):
        estimate = OdeNLL(**options)
        assert {key: getattr(estimate, key) for key in options} == options
    assert OdeNLL(batch_size=1, probes=1).batch_size == 1


def test_a_line_for_people_says_how_exactly_the_ode_was_solved():
    bits = torch.tensor([1.0, 3.0], dtype=torch.float64)
    result = OdeResult(bits, torch.arange(2), 4, 1234.5, 1e-4, 1e-3, 0.0123456, None)
    own = {"rtol": 1e-4, "atol": 1e-3, "min_noise": 0.0123456, "trace_error": None}
    assert result.as_dict().items() >= own.items()
    assert result.summary() == (
        "NLL 2.0000 ± 1.0000 bits/dim over 2 items by the probability-flow ODE of dequantized data "
        "(from sigma/alpha = 0.01235, rtol 0.0001); 1,234 evaluations for each"
    )
