"""The bound of tokens as vectors against numerical integration of its definition, and against a known entropy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from diffusion_lab.codecs import TokenEmbedding, Tokens
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood import EmbeddingBoundNLL
from diffusion_lab.likelihood.embedding_bound_nll import EmbeddingBoundResult
from diffusion_lab.parameterizations import X0
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import Ancestral, Pipeline
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import DiscreteSchedule, SqrtSchedule
from diffusion_lab.vocabulary import Characters
from oracles.embedded_text import ExactEmbedded
from oracles.markov_text import Joint

NOISE = 0.3


def embedding(vectors, bias=None):
    codec = TokenEmbedding(len(vectors), Characters("abcdef"[: len(vectors)]), vectors.shape[1], NOISE).double()
    codec.vectors.data.copy_(vectors)
    if bias is not None:
        codec.bias.data.copy_(torch.tensor(bias))
    return codec


def pipeline(codec, schedule, network, length):
    process = Gaussian(schedule)
    sampler = Ancestral(process, Trailing(schedule), num_steps=2)
    shape = codec.code_shape((length,))
    return Pipeline(network, X0(process), process, codec, sampler, (), shape)


class Bent(nn.Module):
    """A denoiser of one dimension that is wrong, and told the index 0 or 1 of the step."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.8, dtype=torch.float64))

    def forward(self, z, c_noise, condition=None):
        return self.scale * torch.tanh((1.5 - 0.4 * c_noise.double()[:, None, None]) * z) + 0.1


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * math.pi * variance)


class TwoSteps:
    """The chain w → x0 → z_1 → z_2 of one token in one dimension, on grids, by its definition alone."""

    vectors, bias, betas = (-1.0, 0.7), (0.2, -0.3), (0.2, 0.7)

    def __init__(self):
        self.grid = np.linspace(-6, 6, 241)
        self.step = self.grid[1] - self.grid[0]
        self.network = Bent()

        # q(z_1 | x0) [x0, z_1] and q(z_2 | z_1) [z_1, z_2]
        self.first, self.second = (
            normal(self.grid[None, :], math.sqrt(1 - beta) * self.grid[:, None], beta) for beta in self.betas
        )

    def joint(self, vector):
        """q(z_1, z_2 | w) [z_1, z_2], with x0 ~ q(x0 | w) summed out."""
        start = normal(self.grid, vector, NOISE**2)
        return (start @ self.first * self.step)[:, None] * self.second

    def mean_x0(self, vector):
        """E[x0 | z_2, w] [z_2]."""
        weights = normal(self.grid, vector, NOISE**2)[:, None] * (self.first @ self.second)
        return self.grid @ weights / weights.sum(0)

    def raw(self, index):
        with torch.no_grad():
            z = torch.tensor(self.grid)[:, None, None]
            return self.network(z, torch.full((len(self.grid),), float(index)))[:, 0, 0].numpy()

    def model(self):
        """p(z_2) [z_2], p(z_1 | z_2) [z_1, z_2] and p(w | z_1) [2, z_1]."""
        prior = normal(self.grid, 0, 1)
        # E[x0 | z_2, vector] is a straight line in the vector: which vector gives the predicted x0?
        at_0, at_1 = (self.mean_x0(vector) for vector in (0.0, 1.0))
        vectors = (self.raw(1) - at_0) / (at_1 - at_0)
        given = np.stack([self.joint(vector)[:, place] for place, vector in enumerate(vectors)], 1)
        back = given / np.maximum(given.sum(0) * self.step, 1e-300)
        logits = np.outer(self.vectors, self.raw(0)) + np.array(self.bias)[:, None]
        return prior, back, np.exp(logits) / np.exp(logits).sum(0)

    def bounds(self):
        """The bound on −log p(w), and −log p(w) itself, of each token."""
        prior, back, read = self.model()
        found = []
        for token, vector in enumerate(self.vectors):
            joint = self.joint(vector)
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.log(joint) - np.log(prior) - np.log(back) - np.log(read[token])[:, None]
            bound = np.where(joint > 1e-14, joint * logs, 0).sum() * self.step**2
            exact = (read[token] @ back @ prior) * self.step**2
            found.append((bound, -math.log(exact)))
        return found


def test_the_bound_is_the_integral_of_its_definition_and_above_the_model_likelihood():
    chain = TwoSteps()
    codec = embedding(torch.tensor(chain.vectors)[:, None], chain.bias)
    schedule = DiscreteSchedule(torch.tensor(chain.betas, dtype=torch.float64))
    whole = pipeline(codec, schedule, chain.network, 1)
    for token, (bound, exact) in enumerate(chain.bounds()):
        assert bound > exact + 0.01
        x = torch.full((20_000, 1), token)
        result = EmbeddingBoundNLL(num_times=5, batch_size=20_000).of(whole, x)
        nats, error = result.mean * math.log(2), result.standard_error * math.log(2)
        assert error < 0.01
        assert nats == pytest.approx(bound, abs=4 * error)


CHAIN = Joint.markov(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64), 3)
VECTORS = torch.tensor([[3.0, 0.0], [-1.5, 2.6], [-1.5, -2.6]], dtype=torch.float64)


def exact_bound(schedule, count, num_times=32):
    steps = schedule.steps
    told = (lambda c: c / 1000) if steps is None else (lambda c: (c + 1) / steps)
    first = None if steps is None else 1.5 / steps
    network = ExactEmbedded(CHAIN, VECTORS, NOISE, told, schedule.alpha, schedule.sigma, first)
    x = CHAIN.draw(count)
    result = EmbeddingBoundNLL(num_times=num_times, batch_size=count).of(
        pipeline(embedding(VECTORS), schedule, network, 3), x
    )
    exact = -CHAIN.probs[(x * 3 ** torch.arange(2, -1, -1)).sum(1)].log() / 3 / math.log(2)
    return float((result.bits - exact).mean()), float((result.bits - exact).std()) / count**0.5


@pytest.mark.parametrize("schedule", [SqrtSchedule(1000), SqrtSchedule(None)], ids=["steps", "continuous"])
def test_the_bound_of_the_exact_denoiser_is_the_entropy_of_a_markov_chain(schedule):
    """Also in steps, if they are many; the head is sure of each token at the first row."""
    difference, error = exact_bound(schedule, 1500)
    assert error < 0.015
    assert difference == pytest.approx(0, abs=4 * error + 0.003)


def test_few_steps_cost_more():
    differences = [exact_bound(SqrtSchedule(steps), 800, num_times=steps)[0] for steps in (4, 16, 64)]
    assert differences[0] > differences[1] + 0.02 > differences[2] + 0.03


def test_it_needs_vectors_of_tokens():
    with pytest.raises(LabError, match="needs codec=embedding, got Tokens"):
        EmbeddingBoundNLL().check_process(Gaussian(SqrtSchedule()), Tokens(3, Characters("abc")))
    with pytest.raises(ValueError, match="num_times must be at least 1"):
        EmbeddingBoundNLL(num_times=0)
    assert EmbeddingBoundNLL(num_times=1).num_times == 1


class Told(nn.Module):
    """A denoiser that keeps what it is told of the time."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.told = []

    def forward(self, z, c_noise, condition=None):
        self.told.append(c_noise)
        return self.scale * z


def told(schedule, **options):
    """What the network is told of each evaluation, and how many there are for each sequence."""
    network, x = Told(), CHAIN.draw(20)
    result = EmbeddingBoundNLL(batch_size=20, **options).of(pipeline(embedding(VECTORS), schedule, network, 3), x)
    return torch.stack(network.told), result.evaluations


def noise_at(schedule, time):
    time = torch.tensor(time, dtype=torch.float64)
    return float(schedule.sigma(time) / schedule.alpha(time))


def test_a_chain_of_steps_ends_by_default_at_its_first_row_although_the_codec_has_more_noise():
    schedule = SqrtSchedule(400)
    assert noise_at(schedule, 1 / 400) < NOISE - 0.05
    numbers, evaluations = told(schedule, num_times=3)
    assert evaluations == 4
    assert numbers[0].unique().tolist() == [0]


@pytest.mark.parametrize(("share", "first"), [(0.999, 390), (1, 390), (1.001, 391)])
def test_a_chain_of_steps_ends_at_the_first_row_with_as_much_noise_as_is_asked_for(share, first):
    schedule = SqrtSchedule(400)
    numbers, evaluations = told(schedule, num_times=20, min_noise=share * noise_at(schedule, 390 / 400))
    assert evaluations == 400 - first + 1
    assert numbers[:, 0].tolist() == [first - 1, *range(first, 400)]


@pytest.mark.parametrize("noise", [None, 0.5])
def test_continuous_time_ends_at_the_noise_of_the_codec_or_that_which_is_asked_for(noise):
    schedule = SqrtSchedule(None)
    numbers, evaluations = told(schedule, num_times=3, min_noise=noise)
    assert evaluations == 4
    assert noise_at(schedule, float(numbers[0, 0]) / 1000) == pytest.approx(NOISE if noise is None else noise, rel=1e-4)
    assert numbers[1:].min() > numbers[0].max()


@pytest.mark.parametrize("share", [0.999, None])
def test_noise_that_no_row_has_is_refused(share):
    schedule = SqrtSchedule(40)
    most = math.exp(-float(schedule.log_snr(torch.ones((), dtype=torch.float64))) / 2)
    least = noise_at(schedule, 1 / 40)
    with pytest.raises(
        LabError, match=rf"of the schedule SqrtSchedule, whose network knows {least:.4g} to {most:.4g}$"
    ):
        told(schedule, min_noise=most if share is None else share * least)


def test_its_terms_add_up_and_are_recorded_in_nats_with_their_errors():
    parts = [torch.tensor(values, dtype=torch.float64) for values in ([0.5, 1.5], [2.0, 3.0], [1.0, 4.0])]
    result = EmbeddingBoundResult(sum(parts), torch.arange(2), 3, 9.0, None, "a bound", *parts)
    found = result.as_dict()
    for name, mean, error in (("prior", 1.0, 0.5), ("steps", 2.5, 0.5), ("decoder", 2.5, 1.5)):
        assert found[f"{name}_nats_per_token"] == pytest.approx(mean * math.log(2))
        assert found[f"{name}_nats_error"] == pytest.approx(error * math.log(2))
    assert found["bits_per_token"] == 6


@pytest.mark.parametrize("noise", [0.0, -1.0])
def test_noise_is_above_0(noise):
    with pytest.raises(ValueError, match="min_noise must be above 0, or null, got"):
        EmbeddingBoundNLL(min_noise=noise)


@pytest.mark.parametrize("steps", [None, 400, 1000])
def test_the_noise_may_be_the_least_of_the_schedule_and_not_its_most(steps):
    """That of the first row, or at t = 0."""
    process, codec = Gaussian(SqrtSchedule(steps)), embedding(VECTORS)
    times = (0.0 if steps is None else 1 / steps, 1.0)
    least, most = (
        math.exp(-float(process.schedule.log_snr(torch.tensor(time, dtype=torch.float64))) / 2) for time in times
    )
    for noise in (least, most * (1 - 1e-9)):
        EmbeddingBoundNLL(min_noise=noise).check_process(process, codec)
    for noise in (least * (1 - 1e-9), most):
        with pytest.raises(LabError, match="is no sigma/alpha of the schedule SqrtSchedule"):
            EmbeddingBoundNLL(min_noise=noise).check_process(process, codec)
