"""What all estimates of the likelihood have in common."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from diffusion_lab.codecs import Pixels, TokenEmbedding, Tokens
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood import (
    EmbeddingBoundNLL,
    MaskedCountNLL,
    OdeNLL,
    TokenBoundNLL,
    VariationalBoundNLL,
    base,
)
from diffusion_lab.likelihood.base import LikelihoodResult, least_noise, standard_error
from diffusion_lab.parameterizations import X0, Substitution
from diffusion_lab.processes import Absorbing, Gaussian
from diffusion_lab.schedules import (
    EDMSchedule,
    FlowSchedule,
    GeometricSchedule,
    LinearSchedule,
    LogLinearSchedule,
    SqrtSchedule,
)
from diffusion_lab.vocabulary import Characters
from exact_pipelines import pipeline_of
from oracles.embedded_text import ExactEmbedded
from oracles.gaussian_data import ExactNetwork, GaussianData
from oracles.markov_text import ExactMasked, Joint
from pretended_device import moved, pretended_device

GAUSSIAN = Gaussian(LinearSchedule(22))
ABSORBING = Absorbing(LogLinearSchedule(), 3)
CHAIN = Joint.random(3, 2)


@pytest.mark.parametrize(
    ("estimator", "process", "says"),
    [
        (TokenBoundNLL, GAUSSIAN, "TokenBoundNLL needs a process of the kind DiscreteProcess, got Gaussian: take "
         "evaluation=likelihood"),
        (OdeNLL, ABSORBING, "OdeNLL needs a process of the kind Gaussian, got Absorbing: take evaluation=token_bound"),
        (OdeNLL, "text", "OdeNLL needs a process of the kind Gaussian, got str"),
    ],
)  # fmt: skip
def test_a_process_of_another_kind_is_refused_with_the_option_for_it(estimator, process, says):
    with pytest.raises(LabError) as caught:
        estimator().check_parts(SimpleNamespace(process=process, codec=None), None)
    assert str(caught.value) == says


@pytest.mark.parametrize("codec", [Tokens(3, None), Pixels()])
def test_whether_an_estimate_can_be_made_is_checked_with_the_parts(codec):
    parts = SimpleNamespace(process=GAUSSIAN, codec=codec)
    if isinstance(codec, Pixels):
        OdeNLL().check_parts(parts, None)
    else:
        with pytest.raises(LabError, match="codec=Tokens does not say how data is quantized"):
            OdeNLL().check_parts(parts, None)


def test_the_least_noise_is_that_of_the_values_or_the_least_that_the_network_knows():
    """EDM's sigma/alpha goes from its lowest to its highest sigma; uniform noise of width w has w/√12."""
    of_values = 2 / 255 / math.sqrt(12)
    assert least_noise(Gaussian(EDMSchedule(0.001, 80.0)), Pixels(), None) == pytest.approx(of_values)
    assert least_noise(Gaussian(EDMSchedule(0.01, 80.0)), Pixels(), None) == pytest.approx(0.01)
    assert least_noise(Gaussian(EDMSchedule(0.001, 80.0)), Pixels(), 0.5) == 0.5


def test_the_noise_may_be_the_least_of_the_schedule_and_not_its_most():
    process = Gaussian(EDMSchedule(0.01, 80.0))
    least, most = (math.exp(-float(process.schedule.log_snr(torch.tensor(t, dtype=torch.float64))) / 2) for t in (0, 1))
    assert (least, most) == (pytest.approx(0.01), pytest.approx(80))
    assert least_noise(process, Pixels(), least) == least
    for noise in (most, least * (1 - 1e-9)):
        with pytest.raises(LabError, match=r"EDMSchedule, whose network knows 0\.01 to 80$"):
            least_noise(process, Pixels(), noise)


@pytest.mark.parametrize("steps", [100, 1000])
def test_the_least_noise_of_a_chain_of_steps_is_that_of_its_first_one(steps):
    process, beta = Gaussian(LinearSchedule(steps)), 0.1 / steps
    least = math.exp(-float(process.schedule.log_snr(torch.tensor(1 / steps, dtype=torch.float64))) / 2)
    assert least == pytest.approx(math.sqrt(beta / (1 - beta)))
    assert least_noise(process, Pixels(), least) == least
    with pytest.raises(LabError, match="LinearSchedule, whose network knows"):
        least_noise(process, Pixels(), least * (1 - 1e-9))


def image_pipeline(schedule=None):
    process = Gaussian(schedule or LinearSchedule(22))
    network = ExactNetwork(process, GaussianData([0.0] * 4, [1.0] * 4), "x0")
    return pipeline_of(network, X0(process), Pixels(), (1, 1, 4))


def test_the_lowest_and_the_highest_value_of_pixels_are_data_and_the_next_ones_are_not():
    """A value may be off by a thousandth of the distance of two."""
    estimate, x = VariationalBoundNLL(num_items=2), torch.zeros(2, 1, 1, 4) + 1 / 255
    for value in (-1.0, 1.0, 1.001 / 255):
        x[0, 0, 0, 0] = value
        assert estimate.of(image_pipeline(), x).bits.isfinite().all()
    for value in (-1 - 2 / 255, -1 - 1.9995 / 255, 1 + 1.9995 / 255, 1 + 2 / 255, 0.0, 1.003 / 255):
        x[0, 0, 0, 0] = value
        with pytest.raises(
            LabError, match=rf"256 values, evenly spaced over \[-1\.0, 1\.0\], .* others: {x.min():.4g}"
        ):
            estimate.of(image_pipeline(), x)


def test_two_items_are_enough_and_more_than_there_are_is_all_of_them():
    x = torch.ones(3, 1, 1, 4)
    assert len(VariationalBoundNLL(num_items=2).of(image_pipeline(), x).rows) == 2
    assert VariationalBoundNLL(num_items=9).of(image_pipeline(), x).rows.tolist() == [0, 1, 2]
    assert VariationalBoundNLL().of(image_pipeline(), x[:2]).rows.tolist() == [0, 1]


def test_fewer_items_are_among_more_of_the_same_seed():
    x = torch.ones(30, 1, 1, 4)
    few, more = (set(VariationalBoundNLL(num_items=n).of(image_pipeline(), x).rows.tolist()) for n in (5, 12))
    assert few < more


def test_the_error_of_a_mean_and_the_line_of_a_result_are_those_counted_by_hand():
    """The values 1, 2, 6 have the variance (4 + 1 + 9)/2 = 7."""
    bits = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    assert standard_error(bits) == pytest.approx(math.sqrt(7 / 3))
    result = LikelihoodResult(bits, torch.arange(3), 5, 2.5)
    assert result.as_dict() == {
        "bits_per_dim": 3.0,
        "bits_per_dim_error": pytest.approx(math.sqrt(7 / 3)),
        "num_items": 3,
        "dimensions": 5,
        "evaluations": 2.5,
    }
    assert result.summary() == "3.0000 ± 1.5275 bits/dim over 3 items"


class Bar:
    """Stands in for that of tqdm."""

    def __init__(self, desc, unit, disable):
        self.disable, self.closed, self.total, self.done = disable, False, None, 0

    def reset(self, total):
        self.total = total

    def update(self, count=1):
        self.done += count

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    """The bars that were made, in a terminal that can show some."""
    made = []
    monkeypatch.setattr(base, "tqdm", lambda **options: made.append(Bar(**options)) or made[-1])
    monkeypatch.setattr(base, "can_show_bars", lambda: True)
    return made


def parts(name):
    """An estimate, a pipeline and seven items for it."""
    if name == "ode":
        return OdeNLL(rtol=0.1, atol=0.1, batch_size=3), image_pipeline(), torch.ones(7, 1, 1, 4)
    if name == "variational":
        return VariationalBoundNLL(num_times=4, batch_size=3), image_pipeline(), torch.ones(7, 1, 1, 4)
    if name == "continuous":
        return VariationalBoundNLL(num_times=4, batch_size=3), image_pipeline(FlowSchedule()), torch.ones(7, 1, 1, 4)
    if name in ("token", "destroyed", "counts"):
        schedule = GeometricSchedule(low=0.5) if name == "destroyed" else LogLinearSchedule()
        process, codec = Absorbing(schedule, 3), Tokens(3, Characters("abc"))
        model = pipeline_of(ExactMasked(CHAIN), Substitution(process), codec, (2,))
        kind = MaskedCountNLL if name == "counts" else TokenBoundNLL
        return kind(num_times=4, batch_size=3), model, CHAIN.draw(7)
    schedule, codec = SqrtSchedule(None), TokenEmbedding(3, Characters("abc"), 2, 0.3).double()
    network = ExactEmbedded(CHAIN, codec.vectors.detach(), 0.3, lambda c: c / 1000, schedule.alpha, schedule.sigma)
    model = pipeline_of(network, X0(Gaussian(schedule)), codec, codec.code_shape((2,)))
    return EmbeddingBoundNLL(num_times=4, batch_size=3), model, CHAIN.draw(7)


@pytest.mark.parametrize(
    ("name", "total"),
    [("ode", 7), ("variational", 35), ("continuous", 35), ("token", 28), ("counts", 28), ("embedding", 35)],
)
def test_a_bar_is_full_at_the_end(bars, name, total):
    """Of the items of the ODE, and else of the evaluations for all of them."""
    estimate, model, items = parts(name)
    estimate.of(model, items, progress=True)
    (bar,) = bars
    assert (bar.total, bar.done) == (total, total)
    assert bar.closed


def test_a_bar_is_shown_where_it_is_asked_for_and_can_be(bars, monkeypatch):
    estimate, model, items = parts("variational")
    estimate.of(model, items, progress=True)
    estimate.of(model, items)
    monkeypatch.setattr(base, "can_show_bars", lambda: False)
    estimate.of(model, items, progress=True)
    assert [bar.disable for bar in bars] == [False, True, True]


def test_labels_of_sequences_reach_the_network(bars):
    """One of each item, in the order of the batches, and those of the items that were chosen."""
    for name in ("token", "counts", "embedding"):
        estimate, model, items = parts(name)
        told, labels = [], torch.tensor([4, 3, 2, 1, 0, 1, 2])
        model.network.condition, model.num_classes = "label", 5
        model.network.register_forward_pre_hook(lambda _, arguments, told=told: told.append(arguments[2].tolist()))
        found = estimate.of(model, items, labels)
        per_batch = len(told) // 3
        assert [told[per_batch * k] for k in range(3)] == [[4, 3, 2], [1, 0, 1], [2]]
        assert len(found.rows) == 7
        with pytest.raises(LabError, match="takes a label for each item, and the data has none"):
            estimate.of(model, items)


class Labelled(nn.Module):
    """Makes use of all that a network is told: a state, its time and its label."""

    condition = "label"

    def __init__(self):
        super().__init__()
        self.of_label = nn.Embedding.from_pretrained(torch.linspace(-1, 1, 5)[:, None], freeze=False)

    def forward(self, x, c_noise, condition):
        told = (self.of_label(condition)[:, 0] + c_noise / 1000).reshape(-1, *(1,) * (x.dim() - 1))
        if x.is_floating_point():
            return x * (1 + told.cos() / 100)
        return torch.cos(told[..., None] + x[..., None] * torch.arange(1, 4, device=x.device))


@pytest.mark.parametrize("name", ["ode", "variational", "continuous", "token", "destroyed", "counts", "embedding"])
def test_items_lie_on_the_cpu_wherever_the_network_is(name):
    estimate, model, items = parts(name)
    if name != "ode":
        estimate.num_times = 1
    model = pipeline_of(Labelled(), model.plain_denoiser.parameterization, model.codec, model.shape, 5)
    items, labels = items[:2], torch.tensor([4, 1])
    expected = estimate.of(model, items, labels)
    with pretended_device():
        moved(model.network)
        moved(model.codec)
        found = estimate.of(model, items, labels)
    for value, other in zip(vars(found).values(), vars(expected).values(), strict=True):
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, other)  # also on the same device
        else:
            assert value == other
