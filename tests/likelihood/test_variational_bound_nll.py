"""The bound on Gaussian data, in closed form, and on a few images, whose entropy is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from diffusion_lab.codecs import Pixels, TokenEmbedding, Tokens
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood import VariationalBoundNLL
from diffusion_lab.likelihood.base import half_width, standard_error
from diffusion_lab.likelihood.bound_forms import DiscreteBound
from diffusion_lab.likelihood.variational_bound_nll import BoundResult
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import X0, Eps, LearnedVariance, V
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, FlowSchedule, LinearSchedule
from exact_pipelines import Density, pipeline_of
from oracles.gaussian_data import ExactNetwork, GaussianData

DATA = GaussianData([0.2, -0.3, 0.0, 0.1], [0.04, 0.01, 0.02, 0.03], seed=1)
ITEMS = Density.quantized(DATA.sample(400, seed=2))
#: −log p(x) of these items, in bits per dimension.
EXACT = torch.from_numpy(-DATA.log_density(ITEMS[:, 0, 0].numpy()) / 4 / math.log(2))


def pipeline(schedule=None, parameterization=V, kind="v", data=DATA, codec=None, num_classes=None, shape=(1, 1, 4)):
    process = Gaussian(schedule or LinearSchedule(40))
    network = ExactNetwork(process, data, kind)
    return pipeline_of(network, parameterization(process), codec or Density(), shape, num_classes)


def bound(*arguments, **options):
    return VariationalBoundNLL(clip=False, **options).of(pipeline(*arguments), ITEMS)


def gap(result):
    return result.bits - EXACT


def within(values, expected, errors=4):
    """Whether a mean over items [N] is as expected, within so many of its standard errors."""
    return abs(float(values.mean()) - expected) < errors * standard_error(values)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_its_terms_are_those_of_gaussian_data_in_closed_form(variance):
    schedule = LinearSchedule(40)
    found = bound(schedule, variance=variance)
    alpha_bar = schedule.alpha_bar.tolist()
    bit = math.log(2)
    steps = sum(DATA.step_loss(alpha_bar[n], alpha_bar[n - 1], variance) for n in range(2, 41))
    # The last step is decoded with the variance beta_1, or beta~_2 where beta~_1 = 0.
    beta, second = 1 - alpha_bar[1], 1 - alpha_bar[2] / alpha_bar[1]
    squared = beta if variance == "beta" else second * beta / (1 - alpha_bar[2])
    decoder = 0.5 * (math.log(2 * math.pi * squared) + DATA.squared_error(alpha_bar[1]) / squared)
    prior = DATA.prior_loss(math.sqrt(alpha_bar[-1]), math.sqrt(1 - alpha_bar[-1]), 1.0)
    assert within(found.steps, steps / bit)
    assert within(found.decoder, decoder / bit)
    assert within(found.prior, prior / bit)
    torch.testing.assert_close(found.bits, found.prior + found.steps + found.decoder)
    assert found.evaluations == 40


def test_it_bounds_the_exact_nll_of_gaussian_data_and_comes_nearer_with_more_steps():
    gaps = [gap(bound(LinearSchedule(steps))) for steps in (22, 40, 100)]
    assert gaps[0].mean() > 1.5 * gaps[1].mean() > 2 * gaps[2].mean()
    assert gaps[2].mean() > -2 * standard_error(gaps[2])
    assert gaps[2].mean() < 0.2


def test_in_continuous_time_it_is_the_exact_nll_of_gaussian_data_whatever_the_schedule():
    """The limit of many steps leaves no gap but that of the last noise, and of the prior (VDM, eq. 18)."""
    found = [
        bound(schedule, num_times=30, min_noise=0.01)
        for schedule in (FlowSchedule(), EDMSchedule(), CosineSchedule(None, zero_terminal_snr=True))
    ]
    assert abs(gap(found[0]).mean()) < 3 * standard_error(gap(found[0])) < 0.15
    for other in found[1:]:
        torch.testing.assert_close(other.steps, found[0].steps, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(other.decoder, found[0].decoder, atol=1e-4, rtol=1e-3)


def test_few_images_cost_their_entropy():
    """Images of one value each, of 8 bits: the bound of a perfect network comes down to log2 of their number."""
    values = torch.tensor([10, 100, 101, 180], dtype=torch.float64) / 127.5 - 1
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)

    class Few(GaussianData):
        def expected_data(self, z, alpha, sigma):
            logits = probabilities.log() - (z[:, :, None] - alpha[:, :, None] * values) ** 2 / (
                2 * sigma[:, :, None] ** 2
            )
            return torch.softmax(logits, dim=2) @ values

    items = values[torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])].repeat(4)[:, None, None, None].expand(-1, 1, 1, 9)
    data = Few(np.zeros(9), np.ones(9))
    found = []
    for schedule, num_times in ((CosineSchedule(100, offset=0), None), (CosineSchedule(4000, offset=0), 100)):
        model = pipeline(schedule, X0, "x0", data=data, codec=Pixels(), shape=(1, 1, 9))
        found.append(VariationalBoundNLL(num_times=num_times, variance="beta_tilde").of(model, items))
    model = pipeline(FlowSchedule(), X0, "x0", data=data, codec=Pixels(), shape=(1, 1, 9))
    found.append(VariationalBoundNLL(num_times=100, min_noise=1e-3).of(model, items))
    assert found[0].mean > 1.75 + 0.5
    for result in found[1:]:
        assert within(result.bits, 1.75)
        assert result.mean == pytest.approx(1.75, abs=0.1)


@pytest.mark.parametrize("schedule", [LinearSchedule(100), LinearSchedule(100, zero_terminal_snr=True)])
def test_sampled_steps_agree_with_the_full_sum_within_their_error(schedule):
    full = bound(schedule)
    for num_times in (1, 8):
        found = bound(schedule, num_times=num_times)
        difference = found.bits - full.bits
        assert within(difference, 0.0)
        assert torch.equal(found.prior, full.prior)
        assert torch.equal(found.decoder, full.decoder)
        assert found.evaluations == 1 + num_times
        assert found.standard_error > full.standard_error  # it holds the variance of the sampling


@pytest.mark.parametrize("num_times", [1, 30])
def test_the_integral_of_continuous_time_is_unbiased_for_any_number_of_times(num_times):
    """½ ∫ squared error dSNR, by the trapezoidal rule on a grid even in ln SNR."""
    snr = np.exp(np.linspace(math.log(1e-6), math.log(1e6), 4001))
    error = [DATA.squared_error(one / (1 + one)) for one in snr]
    expected = trapezoid(np.multiply(error, snr) / 2, np.log(snr)) / math.log(2)
    found = bound(FlowSchedule(), num_times=num_times, min_noise=1e-3).steps
    assert within(found, expected)
    assert standard_error(found) < 0.4


def test_more_sampled_steps_have_less_variance():
    spread = [
        float((bound(LinearSchedule(100), num_times=k).steps - bound(LinearSchedule(100)).steps).std()) for k in (2, 16)
    ]
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize("num_times", [None, 22, 1000])
def test_the_full_sum_visits_each_step_once(num_times):
    form = DiscreteBound(Gaussian(LinearSchedule(22)), Pixels(), 22, "beta", first=1)
    visited = list(form.times(Noise(torch.arange(3), 0), num_times))
    assert form.count(num_times) == len(visited) == 21
    for row, (t, weight) in enumerate(visited, 2):
        assert t.tolist() == [row / 22] * 3
        assert weight.tolist() == [1] * 3


def test_as_many_times_as_steps_are_the_full_sum():
    full, as_many, more = (bound(LinearSchedule(22), num_times=count).bits for count in (None, 21, 1000))
    assert torch.equal(as_many, full)
    assert torch.equal(more, full)


def test_a_process_of_one_step_has_no_steps_between():
    found = bound(CosineSchedule(1), X0, "x0", num_times=5)
    assert not found.steps.any()
    assert found.evaluations == 1


def test_an_item_does_not_depend_on_the_others():
    for schedule, options in (
        (LinearSchedule(22), {}),
        (LinearSchedule(40), {"num_times": 3}),
        (FlowSchedule(), {"num_times": 3, "min_noise": 0.01}),
    ):
        whole = bound(schedule, **options)
        some = bound(schedule, **options, num_items=50, batch_size=17)
        assert len(some.rows) == 50
        assert some.rows.max() > 100
        torch.testing.assert_close(some.bits, whole.bits[some.rows], atol=1e-9, rtol=0)


def test_another_seed_chooses_other_items_and_other_noise():
    first, again, other = (VariationalBoundNLL(num_items=20, seed=seed).of(pipeline(), ITEMS) for seed in (0, 0, 1))
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.bits, again.bits)
    assert not torch.equal(first.rows, other.rows)
    whole = [bound(seed=seed).decoder for seed in (0, 1)]
    assert not (whole[0] == whole[1]).any()


def test_clipped_predictions_bound_data_within_the_range_more_tightly():
    """Noise prediction with an error at the noisiest steps, where it becomes a huge one of the data."""

    def model():
        found = pipeline(CosineSchedule(40), Eps, "eps")
        forward = found.network.forward
        found.network.forward = lambda x, c, condition=None: forward(x, c, condition) + 0.1
        return found

    plain, clipped = (VariationalBoundNLL(clip=clip).of(model(), ITEMS) for clip in (False, True))
    assert plain.steps.mean() > clipped.steps.mean() + 1
    assert clipped.mean > EXACT.mean()


def test_a_learned_variance_is_used():
    process = Gaussian(LinearSchedule(40))
    items = ITEMS[:50]
    found = {}
    for fraction in (-1.0, 1.0):
        network = ExactNetwork(process, DATA, "v")
        model = pipeline_of(network, LearnedVariance(process, V(process)), Density(), (1, 1, 4))
        network.forward = lambda x, c, condition=None, network=network, fraction=fraction: torch.cat(
            [ExactNetwork.forward(network, x, c), torch.full_like(x, fraction)], dim=1
        )
        found[fraction] = VariationalBoundNLL(clip=False).of(model, items).bits
    for fraction, variance in ((-1.0, "beta_tilde"), (1.0, "beta")):
        expected = VariationalBoundNLL(clip=False, variance=variance).of(pipeline(), items).bits
        torch.testing.assert_close(found[fraction], expected)


def test_labels_reach_the_network():
    other = GaussianData([-0.5, 0.5, 0.3, -0.4], [0.02, 0.05, 0.02, 0.01], seed=7)
    labels = torch.arange(400) % 2
    estimate = VariationalBoundNLL(clip=False, num_items=60, batch_size=32)
    both = estimate.of(pipeline(data=[DATA, other], num_classes=2), ITEMS, labels)
    apart = [estimate.of(pipeline(data=data), ITEMS).bits for data in (DATA, other)]
    assert 20 < both.rows.remainder(2).sum() < 40
    torch.testing.assert_close(both.bits, torch.where(labels[both.rows] == 0, *apart), atol=1e-9, rtol=0)


def test_a_network_without_labels_ignores_those_of_the_data():
    estimate = VariationalBoundNLL(num_items=3)
    labels = torch.zeros(400, dtype=torch.int64)
    assert torch.equal(estimate.of(pipeline(), ITEMS, labels).bits, estimate.of(pipeline(), ITEMS).bits)


def test_guidance_and_clipping_of_the_pipeline_are_left_out():
    model = pipeline()
    expected = VariationalBoundNLL(num_items=3).of(model, ITEMS).bits
    model.denoiser = None
    assert torch.equal(VariationalBoundNLL(num_items=3).of(model, ITEMS).bits, expected)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_in_eval_mode_and_its_mode_is_restored(fails):
    model = pipeline()
    model.network.train()
    if fails:
        model.network.weight.data.fill_(math.nan)
        with pytest.raises(LabError, match="the likelihood of an item is not finite"):
            VariationalBoundNLL(num_items=3).of(model, ITEMS)
    else:
        VariationalBoundNLL(num_items=3).of(model, ITEMS)
    assert model.network.modes == {False}
    assert model.network.training


def test_the_result_tells_its_terms():
    result = bound(num_items=10)
    content = result.as_dict()
    assert content["bits_per_dim"] == pytest.approx(float(result.bits.mean()))
    assert content["bits_per_dim_error"] == pytest.approx(float(result.bits.std()) / math.sqrt(10))
    assert content["steps"] == pytest.approx(float(result.steps.mean()))
    assert content["decoder_error"] == pytest.approx(float(result.decoder.std()) / math.sqrt(10))
    assert sum(content[name] for name in ("prior", "steps", "decoder")) == pytest.approx(result.mean)
    assert (content["num_items"], content["dimensions"], content["evaluations"]) == (10, 4, 40)
    assert f"at most {result.mean:.4f} ± {result.standard_error:.4f} bits/dim over 10 items" in result.summary()


def test_a_line_for_people_says_what_the_bound_is_made_of():
    terms = [torch.tensor(values, dtype=torch.float64) for values in ([0.5, 0.5], [2.0, 4.0], [1.0, 2.0])]
    result = BoundResult(sum(terms), torch.arange(2), 4, 1234.5, *terms)
    assert result.as_dict() == {
        "bits_per_dim": 5.0,
        "bits_per_dim_error": pytest.approx(1.5),
        "num_items": 2,
        "dimensions": 4,
        "evaluations": 1234.5,
        "prior": 0.5,
        "steps": 3.0,
        "decoder": 1.5,
        "prior_error": 0.0,
        "steps_error": pytest.approx(1.0),
        "decoder_error": pytest.approx(0.5),
    }
    assert result.summary() == (
        "NLL at most 5.0000 ± 1.5000 bits/dim over 2 items by the variational bound (prior 0.5000 + steps 3.0000 + "
        "decoder 1.5000); 1,234 evaluations for each"
    )


@pytest.mark.parametrize(
    ("schedule", "options", "says"),
    [
        (FlowSchedule(), {}, "FlowSchedule is in continuous time.*set num_times"),
        (LinearSchedule(40), {"min_noise": 0.1}, "min_noise is for continuous time"),
        (EDMSchedule(), {"num_times": 3, "min_noise": 1e-4}, "min_noise=0.0001 is no sigma/alpha"),
    ],
)
def test_schedules_that_do_not_fit_are_refused(schedule, options, says):
    with pytest.raises(LabError, match=says):
        VariationalBoundNLL(**options).of(pipeline(schedule), ITEMS)


@pytest.mark.parametrize("options", [{"num_times": 0}, {"min_noise": -1.0}, {"num_items": 1}, {"batch_size": 0}])
def test_what_is_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        VariationalBoundNLL(**options)


def test_the_edges_of_the_ranges_are_within_them():
    options = {"num_times": 1, "num_items": 2, "batch_size": 1, "min_noise": 1e-9}
    estimate = VariationalBoundNLL(**options)
    assert {key: getattr(estimate, key) for key in options} == options


def test_codes_that_are_learned_have_a_bound_of_their_own():
    codec = TokenEmbedding(3, None, 2, 0.3)
    with pytest.raises(LabError, match=r"codec=TokenEmbedding learns them: take embedding_bound$"):
        VariationalBoundNLL().check_process(Gaussian(LinearSchedule(40)), codec)


@pytest.mark.parametrize(("levels", "value_range"), [(256, None), (None, (-1.0, 1.0))])
def test_a_codec_says_both_how_many_values_there_are_and_where(levels, value_range):
    with pytest.raises(LabError, match="does not say how data is quantized"):
        half_width(SimpleNamespace(levels=levels, value_range=value_range))
    assert half_width(SimpleNamespace(levels=5, value_range=(-1.0, 3.0))) == 0.5


def test_the_distance_of_values_is_that_of_the_codec():
    assert half_width(Pixels()) == 1 / 255
    with pytest.raises(LabError, match="codec=Tokens does not say how data is quantized"):
        half_width(Tokens(3, None))


def test_data_that_does_not_fit_is_refused():
    estimate, model = VariationalBoundNLL(), pipeline(codec=Pixels())
    with pytest.raises(LabError, match="gives probabilities to 256 values"):
        estimate.of(model, torch.full((2, 1, 1, 4), 0.5))
    with pytest.raises(LabError, match="gives probabilities to 256 values"):
        estimate.of(model, torch.full((2, 1, 1, 4), 257 / 127.5 - 1))
    with pytest.raises(LabError, match="two items at least, got 1"):
        estimate.of(model, torch.ones(1, 1, 1, 4))
    with pytest.raises(LabError, match="ExactNetwork takes a label for each item, and the data has none"):
        estimate.of(pipeline(data=[DATA], num_classes=1), ITEMS)
    with pytest.raises(LabError, match="a label is a whole number from 0 to 0"):
        estimate.of(pipeline(data=[DATA], num_classes=1), ITEMS, torch.ones(400, dtype=torch.int64))
