"""Bounds of discrete diffusion against distributions whose entropy is known."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from diffusion_lab.codecs import Tokens
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood import MaskedCountNLL, TokenBoundNLL
from diffusion_lab.likelihood.token_likelihood import TokenResult
from diffusion_lab.parameterizations import Logits, LogScores, Substitution
from diffusion_lab.processes import Absorbing, Uniform
from diffusion_lab.sampling import Ancestral, Pipeline
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import GeometricSchedule, LogLinearSchedule, SurvivalCosineSchedule
from oracles.markov_text import ExactBlocks, ExactMasked, ExactUniform, Joint


class Letters(Tokens):
    def characters(self, x):
        return torch.full((len(x),), x.shape[1])


def even(process):
    return Trailing(process.schedule)


def pipeline(process, parameterization, network, length):
    sampler = Ancestral(process, even(process), num_steps=2)
    return Pipeline(network, parameterization, process, Letters(process.vocab_size, None), sampler, (), (length,))


def masked(joint, schedule, block_size=None):
    process = Absorbing(schedule, joint.vocab_size)
    network = ExactMasked(joint) if block_size is None else ExactBlocks(joint, block_size)
    return pipeline(process, Substitution(process), network, joint.length)


CHAIN = Joint.markov(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64), 4)


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), SurvivalCosineSchedule()])
def test_the_bound_of_the_exact_denoiser_is_the_entropy_of_a_markov_chain(schedule):
    """For each sequence it is −log p(x), which also has a spread of its own."""
    x = CHAIN.draw(4000)
    result = TokenBoundNLL(num_times=16, batch_size=4000).of(masked(CHAIN, schedule), x)
    exact = -CHAIN.probs[(x * 3 ** torch.arange(3, -1, -1)).sum(1)].log() / 4 / math.log(2)
    assert result.mean == pytest.approx(float(exact.mean()), abs=3 * float((result.bits - exact).std()) / 4000**0.5)
    assert result.standard_error < 0.03


def test_both_estimators_of_the_bound_agree():
    x = CHAIN.draw(2000)
    times, counts = (
        kind(num_times=16, batch_size=2000).of(masked(CHAIN, LogLinearSchedule()), x)
        for kind in (TokenBoundNLL, MaskedCountNLL)
    )
    error = float((times.bits - counts.bits).std()) / 2000**0.5
    assert times.mean == pytest.approx(counts.mean, abs=3.5 * error)


def test_what_survives_of_uniform_tokens_is_paid_for_by_the_distance_of_the_prior():
    """H(x) + KL(q(z_1) ‖ p(z_1)), over all states."""
    survival, x = 0.5, CHAIN.draw(4000)
    schedule = LogLinearSchedule(remaining=survival)
    process = Uniform(schedule, 3)
    states = torch.cartesian_prod(*[torch.arange(3)] * 4)
    same = (states[:, None] == CHAIN.sequences).double()
    real = (survival * same + (1 - survival) / 3).prod(-1) @ CHAIN.probs
    apart = float((real * (real * 3**4).log()).sum()) / 4
    assert apart > 0.02
    network = ExactUniform(CHAIN, lambda c_noise: schedule.survival(c_noise / 1000))
    result = TokenBoundNLL(num_times=24, batch_size=4000).of(pipeline(process, Logits(process), network, 4), x)
    exact = -CHAIN.probs[(x * 3 ** torch.arange(3, -1, -1)).sum(1)].log() / 4 / math.log(2)
    excess = (result.bits - exact) * math.log(2)
    error = float(excess.std()) / 4000**0.5
    assert error < 0.01
    assert float(excess.mean()) == pytest.approx(apart, abs=4 * error)


def test_what_survives_at_the_end_is_paid_for_where_times_are_drawn_and_not_where_counts_are():
    """Counts start where all is masked: −log p(x). Times start at z_1, of which the prior knows but its marginals."""
    survival, x = 0.2, CHAIN.draw(4000)
    states = torch.cartesian_prod(*[torch.arange(4)] * 4)  # 3 is the mask
    masks = states == 3
    fits = ((states[:, None] == CHAIN.sequences) | masks[:, None]).all(-1).double()
    shares = torch.where(masks, 1 - survival, survival).double().prod(1)
    real = shares * (fits @ CHAIN.probs)
    prior = shares * 3.0 ** -(~masks).sum(1).double()
    apart = float((real * (real / prior).log()).sum()) / 4  # KL(q(z_1) ‖ p(z_1)), in nats per token
    assert apart > 0.005
    schedule = LogLinearSchedule(remaining=survival)
    times, counts = (
        kind(num_times=16, batch_size=4000).of(masked(CHAIN, schedule), x) for kind in (TokenBoundNLL, MaskedCountNLL)
    )
    exact = -CHAIN.probs[(x * 3 ** torch.arange(3, -1, -1)).sum(1)].log() / 4 / math.log(2)
    assert counts.mean == pytest.approx(float(exact.mean()), abs=4 * float((counts.bits - exact).std()) / 4000**0.5)
    difference = (times.bits - counts.bits) * math.log(2)
    assert float(difference.mean()) == pytest.approx(apart, abs=4 * float(difference.std()) / 4000**0.5)


@pytest.mark.parametrize("name", ["absorbing", "uniform"])
def test_what_is_destroyed_at_the_start_is_paid_for(name):
    """−log p(x), and what is lost where all tokens are read at once from z_0: Σ_l H(x_l | z_0) − H(x | z_0)."""
    schedule = GeometricSchedule(low=0.5)  # 39 % of the tokens are destroyed at t = 0
    joint = Joint.random(3, 2)
    if name == "absorbing":
        parts = masked(joint, schedule)
    else:
        process = Uniform(schedule, 3)
        network = ExactUniform(joint, lambda c_noise: schedule.survival(c_noise / 1000))
        parts = pipeline(process, Logits(process), network, 2)
    survival, limit = math.exp(-0.5), parts.process.limit
    each = survival * torch.eye(3, len(limit), dtype=torch.float64) + (1 - survival) * limit  # q(z | x) [V, S]
    # Over pairs of states and pairs of tokens; a sequence is 3 a + b.
    both = joint.probs.view(3, 3, 1, 1) * each[:, None, :, None] * each[None, :, None, :]
    states = both.sum((0, 1))
    joint_cost, first, second = (
        torch.xlogy(part, states / part.clamp(min=1e-300)).sum() for part in (both, both.sum(1), both.sum(0))
    )
    expected = joint.entropy + float(first + second - joint_cost) / 2
    assert expected > joint.entropy + 0.01
    x = joint.draw(6000)
    times = TokenBoundNLL(num_times=16, batch_size=6000).of(parts, x)
    exact = -joint.probs[(x * torch.tensor([3, 1])).sum(1)].log() / 2 / math.log(2)
    error = float((times.bits - exact).std()) / 6000**0.5 * math.log(2)
    excess = float((times.bits - exact).mean()) * math.log(2)
    assert error < 0.01
    assert excess == pytest.approx(expected - joint.entropy, abs=4 * error)
    assert times.evaluations == 17
    if name == "absorbing":  # counts go down to one mask, and leave nothing to be read at once
        counts = MaskedCountNLL(num_times=16, batch_size=6000).of(parts, x)
        error = float((counts.bits - exact).std()) / 6000**0.5
        assert counts.mean == pytest.approx(float(exact.mean()), abs=4 * error)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("kind", [TokenBoundNLL, MaskedCountNLL])
def test_the_bound_of_exact_blocks_is_the_probability_of_each_sequence(kind, size):
    """By counts of masks, blocks of one token have no variance at all: each is masked, given those before it."""
    x = CHAIN.draw(1000)
    parts = masked(CHAIN, LogLinearSchedule(), size)
    result = kind(num_times=8, batch_size=1000).of(parts, x)
    exact = -CHAIN.probs[(x * 3 ** torch.arange(3, -1, -1)).sum(1)].log() / 4 / math.log(2)
    if kind is MaskedCountNLL and size == 1:
        assert result.bits.tolist() == pytest.approx(exact.tolist(), abs=1e-6)
    error = float((result.bits - exact).std()) / 1000**0.5
    assert result.mean == pytest.approx(float(exact.mean()), abs=4 * error + 1e-6)
    assert result.evaluations == 8


@pytest.mark.parametrize("exact", [True, False])
def test_the_bound_in_the_mean_over_all_subsets_and_times_is_the_log_likelihood(exact):
    """For each sequence: of exact conditionals −log p(x), and of a constant predictor its cross-entropy.

    The mean over times is that of a polynomial of degree L − 1, which three nodes of Gauss and Legendre find exactly.
    """
    joint, process = Joint.random(3, 3), Absorbing(LogLinearSchedule(), 3)
    unigram = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    every = joint.sequences
    nodes, weights = (torch.tensor(part) / 2 for part in np.polynomial.legendre.leggauss(3))
    mean = torch.zeros(len(every), dtype=torch.float64)
    for subset in itertools.product((False, True), repeat=3):
        masked = torch.tensor(subset).expand_as(every)
        state = torch.where(masked, process.mask, every)
        raw = ExactMasked(joint)(state, None) if exact else unigram.log().expand(*every.shape, 3)
        for t, weight in zip(nodes + 0.5, weights, strict=True):
            share = t ** sum(subset) * (1 - t) ** (3 - sum(subset))
            prediction = Substitution(process).prediction(raw, state, t.expand(len(every)))
            mean += weight * share * process.bound(prediction, every, state, t.expand(len(every)))
    expected = -joint.probs.log() / 3 if exact else -unigram.log()[every].mean(1)
    torch.testing.assert_close(mean, expected, rtol=1e-6, atol=1e-6)


def test_the_bound_by_counts_is_the_sum_over_all_subsets():
    """Σ_M (|M| − 1)! (L − |M|)!/L! Σ_{i ∈ M} −log p(x_i | x_{∖M}), with a denoiser that is wrong."""

    class Wrong(nn.Module):
        takes_time = False

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x, c_noise, condition=None):
            seen = (x * torch.tensor([1, 2, 5])).sum(1, keepdim=True).double()
            return torch.stack([torch.sin(seen + k) + 0 * x for k in range(3)], -1).float()

    process = Absorbing(LogLinearSchedule(), 3)
    model, length = Wrong(), 3
    x = torch.tensor([[0, 2, 1]])
    expected = 0.0
    for size in range(1, length + 1):
        for subset in itertools.combinations(range(length), size):
            state = x.clone()
            state[0, list(subset)] = process.mask
            log_probs = model(state, None)[0].log_softmax(-1)
            weight = math.factorial(size - 1) * math.factorial(length - size) / math.factorial(length)
            expected += weight * sum(-float(log_probs[i, x[0, i]]) for i in subset)
    many = x.expand(3000, 3).contiguous()
    for kind in (TokenBoundNLL, MaskedCountNLL):
        result = kind(num_times=12, batch_size=3000).of(pipeline(process, Substitution(process), model, 3), many)
        nats = result.mean * math.log(2)
        assert nats == pytest.approx(expected / length, abs=4 * result.standard_error * math.log(2))


def test_a_constant_predictor_gives_its_cross_entropy():
    class Unigram(nn.Module):
        takes_time = False

        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([0.5, 0.3, 0.2]).log())

        def forward(self, x, c_noise, condition=None):
            return self.logits.expand(*x.shape, 3)

    process, model = Absorbing(LogLinearSchedule(), 3), Unigram()
    x = torch.randint(3, (500, 6), generator=torch.Generator().manual_seed(0))
    result = MaskedCountNLL(num_times=6, batch_size=500).of(pipeline(process, Substitution(process), model, 6), x)
    expected = float(-torch.tensor([0.5, 0.3, 0.2]).log()[x].mean())
    assert result.mean * math.log(2) == pytest.approx(expected, abs=0.02)
    everything = torch.zeros(2, 6, dtype=torch.int64)  # each count gives −log p(0), without any spread
    one = MaskedCountNLL(num_times=3, batch_size=2).of(pipeline(process, Substitution(process), model, 6), everything)
    assert (one.bits * math.log(2)).tolist() == pytest.approx([math.log(2)] * 2, rel=1e-6)


def test_the_bound_of_uniform_tokens_is_the_entropy():
    schedule = LogLinearSchedule()
    process = Uniform(schedule, 3)
    network = ExactUniform(CHAIN, lambda c_noise: schedule.survival(c_noise / 1000))
    x = CHAIN.draw(3000)
    result = TokenBoundNLL(num_times=24, batch_size=1000).of(pipeline(process, Logits(process), network, 4), x)
    exact = -CHAIN.probs[(x * 3 ** torch.arange(3, -1, -1)).sum(1)].log() / 4 / math.log(2)
    assert result.mean == pytest.approx(float(exact.mean()), abs=4 * float((result.bits - exact).std()) / 3000**0.5)


@pytest.mark.parametrize("name", ["absorbing", "uniform"])
def test_the_bound_of_steps_falls_towards_that_of_continuous_time(name):
    """D3PM tends to MDLM, or UDLM, as T grows."""
    x = CHAIN.draw(1500)

    def bound(steps):
        schedule = LogLinearSchedule(steps)
        if name == "absorbing":
            parts = masked(CHAIN, schedule)
        else:
            process = Uniform(schedule, 3)
            scale = 1000 if steps is None else steps
            shift = 0 if steps is None else 1
            network = ExactUniform(CHAIN, lambda c_noise: schedule.survival((c_noise + shift) / scale))
            parts = pipeline(process, Logits(process), network, 4)
        return TokenBoundNLL(num_times=steps or 32, batch_size=1500).of(parts, x).mean

    few, more, limit = bound(2), bound(32), bound(None)
    assert few > more + 0.02
    assert more == pytest.approx(limit, abs=0.06)


def test_a_network_is_told_no_time_at_which_nothing_survives():
    """States without any token occur among the counts, and at no time of a schedule that leaves some."""
    process = Absorbing(LogLinearSchedule(remaining=1e-3), 3)

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.logs = nn.Parameter(torch.tensor([0.5, 0.3, 0.2]).log())
            self.told = []

        def forward(self, x, c_noise, condition=None):
            self.told.append(c_noise)
            return self.logs.expand(*x.shape, 3)

    x, network = torch.randint(3, (50, 4), generator=torch.Generator().manual_seed(0)), Constant()
    estimate = MaskedCountNLL(num_times=8, batch_size=50)
    result = estimate.of(pipeline(process, Substitution(process), network, 4), x)
    assert bool(result.bits.isfinite().all())
    assert bool((process.schedule.survival(torch.cat(network.told).double() / 1000) > 0).all())
    with pytest.raises(LabError, match="MaskedCountNLL is about probabilities"):
        estimate.of(pipeline(process, LogScores(process), network, 4), x)


def test_counts_are_of_continuous_time():
    process = Absorbing(LogLinearSchedule(steps=8), 3)
    with pytest.raises(LabError, match=r"MaskedCountNLL estimates the bound of continuous time, .* has 8 steps"):
        MaskedCountNLL().check_process(process, Letters(3, None))
    MaskedCountNLL().check_process(Absorbing(LogLinearSchedule(), 3), Letters(3, None))


def test_a_perplexity_beyond_all_numbers_is_infinite_and_recorded_as_none():
    few, many = (
        TokenResult(bits, torch.arange(2), 4, 8.0, None, "a bound")
        for bits in (torch.tensor([1.0, 3.0]), torch.tensor([1100.0, 1200.0]))
    )
    assert few.as_dict()["perplexity"] == few.perplexity == pytest.approx(4)
    assert many.perplexity == math.inf
    assert "nats per token, perplexity inf," in many.summary()
    recorded = json.loads(json.dumps(many.as_dict(), allow_nan=False))
    assert recorded["perplexity"] is None
    assert recorded["bits_per_token"] == 1150


@pytest.mark.parametrize("steps", [4, None])
@pytest.mark.parametrize("size", [None, 2])
def test_data_is_read_from_the_first_state_at_the_first_time_of_training(steps, size):
    """A network with steps is told their numbers, from 0 on."""

    process, told = Absorbing(GeometricSchedule(low=0.5, steps=steps), 3), []
    network = ExactMasked(CHAIN) if size is None else ExactBlocks(CHAIN, size)
    network.takes_time = True
    network.register_forward_pre_hook(lambda _, arguments: told.append(arguments[1]))
    x = CHAIN.draw(50)
    estimate = TokenBoundNLL(num_times=6, batch_size=50)
    result = estimate.of(pipeline(process, Substitution(process), network, 4), x)
    assert result.evaluations == len(told) == 7
    assert [tuple(each.shape) for each in told] == [(50,) if size is None else (50, 4)] * 7
    assert told[-1].unique().tolist() == [0]
    if steps is not None:
        assert torch.cat(told).unique().tolist() == [0, 1, 2, 3]


def test_a_result_has_numbers_for_a_file_and_a_line_for_people():
    """Of two sequences of four tokens, of 1 and 3 bits for each, and 4 and 6 characters: 16 bits over 10 characters.

    Of a ratio of sums the error is that of 4 − 1.6 · 4 and 12 − 1.6 · 6 bits, ±2.4, over the mean of 5 characters.
    """
    bits, characters = torch.tensor([1.0, 3.0], dtype=torch.float64), torch.tensor([4, 6])
    nat = math.log(2)
    plain, text = (TokenResult(bits, torch.arange(2), 4, 8.5, of, "a bound") for of in (None, characters))
    of_tokens = {
        "nats_per_token": pytest.approx(2 * nat),
        "nats_per_token_error": pytest.approx(nat),
        "bits_per_token": 2.0,
        "bits_per_token_error": pytest.approx(1.0),
        "perplexity": pytest.approx(4.0),
    }
    facts = {"num_items": 2, "tokens": 4, "evaluations": 8.5}
    of_characters = {
        "nats_per_character": pytest.approx(1.6 * nat),
        "nats_per_character_error": pytest.approx(0.48 * nat),
        "bits_per_character": pytest.approx(1.6),
        "bits_per_character_error": pytest.approx(0.48),
    }
    assert plain.nats_per_character is None
    assert plain.as_dict() == of_tokens | facts
    assert text.as_dict() == of_tokens | of_characters | facts
    start = "NLL at most 1.3863 ± 0.6931 nats per token, perplexity 4, "
    end = ", a bound, over 2 sequences of 4 tokens; 8 evaluations for each"
    assert plain.summary() == f"{start}2.0000 ± 1.0000 bits per token{end}"
    assert text.summary() == f"{start}1.6000 ± 0.4800 bits per character{end}"


@pytest.mark.parametrize("kind", [TokenBoundNLL, MaskedCountNLL])
def test_it_is_taken_at_one_time_at_least(kind):
    with pytest.raises(ValueError, match="num_times must be at least 1, got 0"):
        kind(num_times=0)
    assert kind(num_times=1, batch_size=1, num_items=2).num_times == 1
    for options in ({"batch_size": 0}, {"num_items": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be at least"):
            kind(**options)


def test_a_sequence_does_not_depend_on_the_others():
    x, parts = CHAIN.draw(30), masked(CHAIN, GeometricSchedule(low=0.5))
    for kind in (TokenBoundNLL, MaskedCountNLL):
        whole, some = (
            kind(num_times=3, batch_size=size, num_items=count).of(parts, x) for size, count in ((30, None), (4, 9))
        )
        torch.testing.assert_close(some.bits, whole.bits[some.rows], atol=1e-6, rtol=0)
        assert len(some.rows) == 9
        assert some.evaluations == whole.evaluations


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), SurvivalCosineSchedule()])
@pytest.mark.parametrize("size", [None, 2])
def test_a_network_is_told_the_time_at_which_as_many_are_masked_in_the_mean(schedule, size):
    """Of the whole sequence, or of each block. Every count occurs."""
    process, seen = Absorbing(schedule, 3), []
    network = ExactMasked(CHAIN) if size is None else ExactBlocks(CHAIN, size)
    network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[:2]))
    model = pipeline(process, Substitution(process), network, 4)
    MaskedCountNLL(num_times=8, batch_size=50).of(model, CHAIN.draw(50))
    assert len(seen) == 8
    counts = set()
    for state, c_noise in seen:
        masked = (state == process.mask).unflatten(1, (-1, size or 4)).sum(2)  # [50, blocks]
        counts |= set(masked.flatten().tolist())
        share = masked.double() / (size or 4)
        share = share[:, 0] if size is None else share.repeat_interleave(size, dim=1)
        torch.testing.assert_close(1 - schedule.survival(c_noise.double() / 1000), share, atol=1e-6, rtol=0)
    assert counts == set(range(1, (size or 4) + 1))
