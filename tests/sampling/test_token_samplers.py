"""Samplers of tokens against the joint distribution that an exact denoiser stands for."""

import math

import pytest
import torch
from scipy import stats

from diffusion_lab.codecs import Tokens
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Logits, LogScores, Substitution
from diffusion_lab.processes import Absorbing, TokenLogProbs, Uniform
from diffusion_lab.sampling import (
    Ancestral,
    ClassifierFree,
    Confidence,
    FirstHitting,
    GivenTokens,
    Nucleus,
    Pipeline,
    Remasking,
    ScoreEuler,
    State,
    Tweedie,
    draw,
)
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import GeometricSchedule, LogLinearSchedule, PolynomialSchedule, SurvivalCosineSchedule
from oracles.markov_text import ExactMasked, ExactUniform, Joint
from pretended_device import There, pretended_device

COUNT = 20_000


def even(process):
    return Trailing(process.schedule)


def sampled(process, parameterization, network, sampler, count=COUNT, seed=0, constraint=None):
    denoiser = Denoiser(network, parameterization)
    noise = Noise(torch.arange(count), seed, "sample")
    start = process.prior((network.joint.length,), noise.at("prior"))
    return draw(denoiser, sampler, start, noise, constraint=constraint)


def counts_of(joint, samples):
    place = joint.vocab_size ** torch.arange(joint.length - 1, -1, -1)
    return torch.bincount((samples * place).sum(1), minlength=len(joint.probs))


def distance(joint, samples):
    """The total variation between the draws and the joint."""
    return 0.5 * float((counts_of(joint, samples) / len(samples) - joint.probs).abs().sum())


def masked(joint):
    process = Absorbing(LogLinearSchedule(), joint.vocab_size)
    return process, Substitution(process), ExactMasked(joint)


def test_the_first_hitting_sampler_is_exact():
    joint = Joint.random(3, 2)
    process, parameterization, network = masked(joint)
    samples = sampled(process, parameterization, network, FirstHitting(process, 2))
    found = counts_of(joint, samples).numpy()
    assert stats.chisquare(found, (COUNT * joint.probs).numpy()).pvalue > 1e-3
    assert network.calls <= 2


def test_the_bias_of_parallel_steps_shrinks_with_their_number():
    joint = Joint.random(3, 3, sharpness=3.0)
    process, parameterization, network = masked(joint)
    far, near = (
        distance(
            joint,
            sampled(process, parameterization, network, Ancestral(process, even(process), num_steps=n)),
        )
        for n in (1, 32)
    )
    assert far > 0.2
    assert near < 0.03


@pytest.mark.parametrize("schedule", [LogLinearSchedule(remaining=1e-3), GeometricSchedule()], ids=["to 0", "to 1e-4"])
@pytest.mark.parametrize("kind", [Ancestral, Tweedie, ScoreEuler])
def test_samplers_of_uniform_tokens_reach_the_joint(kind, schedule):
    joint = Joint.random(3, 3, sharpness=1.5)
    process = Uniform(schedule, joint.vocab_size)
    network = ExactUniform(joint, lambda c_noise: schedule.survival(c_noise / 1000))
    few, many = (
        distance(
            joint,
            sampled(process, Logits(process), network, kind(process, even(process), num_steps=n), 6000),
        )
        for n in (2, 64)
    )
    assert many < 0.06
    assert many < 0.7 * few


def test_the_step_to_clean_tokens_counts_what_stands_there():
    """Of two equal tokens, mostly: exact for one position, and no mask where half of the tokens are destroyed."""
    joint = Joint(torch.tensor([0.4, 0.1, 0.1, 0.4], dtype=torch.float64), 2, 2)
    schedule = GeometricSchedule(low=math.log(2))
    z, zero = torch.tensor([[0, 1]]), torch.zeros(1, dtype=torch.float64)
    process, network = Uniform(schedule, 2), ExactUniform(joint, lambda c_noise: schedule.survival(c_noise / 1000))
    prediction = Denoiser(network, Logits(process))(z, zero)
    # p(x1 | z) by enumeration: q(z | x) is 3/4 where a token is that of the state, and 1/4 where it is not.
    likelihood = torch.tensor([[3 / 16, 9 / 16], [1 / 16, 3 / 16]], dtype=torch.float64) * joint.probs.view(2, 2)
    expected = torch.stack([likelihood.sum(1), likelihood.sum(0)]) / likelihood.sum()
    found = process.clean_posterior(prediction, z, zero).exp()[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_step_to_clean_tokens_leaves_open_ones_as_they_are():
    """Their logits are not trained: the bound has no weight there. And a truncation may leave them none."""
    process = Absorbing(GeometricSchedule(), 3)
    z = torch.tensor([[0, 1, 2, 3]]).expand(2000, 4)
    log_probs = torch.tensor([0.2, 0.3, 0.5]).log().expand(2000, 4, 3).clone()
    log_probs[:, :2] = torch.tensor([-torch.inf, -torch.inf, 0.0])
    zero, noise = torch.zeros(2000, dtype=torch.float64), Noise(torch.arange(2000), 0)
    drawn = process.clean(TokenLogProbs(log_probs), z, zero, noise)
    assert torch.equal(drawn[:, :3], z[:, :3])
    found = torch.bincount(drawn[:, 3], minlength=3).numpy()
    assert stats.chisquare(found, [400, 600, 1000]).pvalue > 1e-3


@pytest.mark.parametrize("kind", [Tweedie, ScoreEuler])
def test_samplers_by_scores_reach_the_joint_of_masked_tokens(kind):
    joint = Joint.random(3, 3)
    process = Absorbing(LogLinearSchedule(remaining=1e-3), joint.vocab_size)
    samples = sampled(
        process,
        Substitution(process),
        ExactMasked(joint),
        kind(process, even(process), num_steps=64),
        6000,
    )
    assert distance(joint, samples) < 0.06


@pytest.mark.parametrize("schedule", [LogLinearSchedule(remaining=1e-3), PolynomialSchedule(6.0, remaining=1e-3)])
@pytest.mark.parametrize("kind", [Ancestral, Tweedie, ScoreEuler, Remasking])
def test_the_last_step_leaves_no_mask_where_scores_do_not_sum_to_1(kind, schedule):
    """Scores are 0.9 of what probabilities give; and from t = 1/1000 on, 1 − α is 0 in floating point, or nearly."""
    process = Absorbing(schedule, 3)
    probs = torch.tensor([0.5, 0.3, 0.2])
    denoiser = Denoiser(lambda z, *_: (0.9 * 3 * probs).log().expand(*z.shape, 3), LogScores(process))
    sampler, rows = kind(process, even(process), num_steps=1000), torch.arange(4000)
    masks, (last, zero) = torch.full((4000, 1), process.mask), sampler.steps[-1]
    assert zero == 0
    state = sampler.take(State(masks), (last, zero), denoiser, Noise(rows, 7))
    found = torch.bincount(state.z[:, 0], minlength=4)
    assert int(found[3]) == 0
    assert stats.chisquare(found[:3].numpy(), (4000 * probs.double()).numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("rule", "strength"), [("cap", 0.2), ("rescale", 1.0), ("cap", 0.0)])
def test_masking_again_keeps_the_joint_and_the_marginals(rule, strength):
    joint = Joint.random(3, 2)
    process, parameterization, network = masked(joint)
    sampler = Remasking(process, even(process), num_steps=40, strength=strength, rule=rule)
    shares = []
    denoiser, noise = Denoiser(network, parameterization), Noise(torch.arange(6000), 0)
    samples = draw(
        denoiser, sampler, process.prior((2,), noise), noise,
        on_step=lambda step: shares.append((step.s, float((step.z == process.mask).double().mean()))),
    )  # fmt: skip
    assert max(abs(share - s) for s, share in shares) < 0.03  # 1 − α = t is masked at all times
    assert distance(joint, samples) < 0.06


@pytest.mark.parametrize(
    ("rule", "strength", "times", "share"),
    [
        ("rescale", 0.6, (0.5, 0.25), 0.3), ("cap", 0.6, (0.5, 0.25), 0.5), ("cap", 0.2, (0.5, 0.25), 0.2),
        ("rescale", 0.4, (0.75, 0.5), 0.4), ("cap", 0.4, (0.75, 0.5), 0.4), ("rescale", 0.0, (0.75, 0.5), 0.0),
        ("cap", 1.0, (0.75, 0.5), 1.0),
    ],
)  # fmt: skip
def test_a_token_is_masked_again_with_the_share_of_its_rule(rule, strength, times, share):
    """σ_max = min(1, (1 − α_s)/α_t) is 1/2 from t = 1/2 to 1/4, and 1 from 3/4 to 1/2; masks open as ReMDM, eq. 6."""
    process, count = Absorbing(LogLinearSchedule(), 3), 4000
    sampler = Remasking(process, even(process), 4, strength=strength, rule=rule)
    start = torch.tensor([0, 1, process.mask, process.mask]).expand(count, 4)
    uniform = Denoiser(lambda z, *_: torch.zeros(*z.shape, 3), Substitution(process))
    after = sampler.take(State(start), times, uniform, Noise(torch.arange(count), 0)).z
    again, left = after[:, :2] == process.mask, after[:, 2:] == process.mask
    t, s = times
    opens = (t - s + share * (1 - t)) / t
    assert float(again.double().mean()) == pytest.approx(share, abs=0.02 if 0 < share < 1 else 0)
    assert 1 - float(left.double().mean()) == pytest.approx(opens, abs=0.02 if opens < 1 else 0)
    assert torch.equal(after[:, :2][~again], start[:, :2][~again])
    fresh = torch.bincount(after[:, 2:][~left], minlength=3).numpy()
    assert len(fresh) == 3
    assert stats.chisquare(fresh).pvalue > 1e-3


@pytest.mark.parametrize("by", ["confidence", "entropy", "margin"])
def test_confidence_opens_equally_many_at_each_step_from_left_to_right(by):
    joint = Joint.random(3, 4)
    process, parameterization, network = masked(joint)
    sampler = Confidence(process, 4, num_steps=4, block_length=2, by=by)
    states = []
    denoiser = Denoiser(network, parameterization)
    noise = Noise(torch.arange(50), 0)
    draw(
        denoiser, sampler, process.prior((4,), noise), noise, on_step=lambda step: states.append(step.z == process.mask)
    )
    assert [int(state.sum()) for state in states] == [150, 100, 50, 0]
    assert not bool(states[1][:, :2].any())  # the first block is complete before the second begins
    assert bool(states[1][:, 2:].all())


def test_blocks_of_one_token_are_opened_from_left_to_right():
    joint = Joint.random(3, 3)
    process, parameterization, network = masked(joint)
    sampler, noise, states = Confidence(process, 3, num_steps=3, block_length=1), Noise(torch.arange(20), 0), []
    draw(
        Denoiser(network, parameterization), sampler, process.prior((3,), noise), noise,
        on_step=lambda step: states.append(step.z == process.mask),
    )  # fmt: skip
    for opened, state in enumerate(states, start=1):
        assert torch.equal(state, (torch.arange(3) >= opened).expand(20, 3))


def test_the_surest_token_is_opened_first():
    joint = Joint.random(3, 3, sharpness=4.0)
    process, parameterization, network = masked(joint)
    noise = Noise(torch.arange(200), 0)
    first = []
    draw(
        Denoiser(network, parameterization), Confidence(process, 3, num_steps=3, by="margin"),
        process.prior((3,), noise), noise, on_step=lambda step: first.append(step.z),
    )  # fmt: skip
    probs = network(torch.full((1, 3), process.mask), None).exp()[0]
    top = probs.topk(2, dim=-1).values
    surest = int((top[:, 0] - top[:, 1]).argmax())
    assert bool((first[0][:, surest] != process.mask).all())


@pytest.mark.parametrize(
    "schedule", [LogLinearSchedule(), PolynomialSchedule(3.0), GeometricSchedule(0.1, 5.0), SurvivalCosineSchedule()]
)
def test_by_confidence_the_network_is_told_the_time_of_the_share_that_is_masked(schedule):
    """Without a prompt, with a token of it, and where all is given; at the ends of a schedule, the nearest time."""
    joint = Joint.random(3, 4)
    process = Absorbing(schedule, joint.vocab_size)
    given = torch.tensor([[False] * 4, [True] + [False] * 3, [True] * 4])
    start = torch.where(given, torch.zeros(3, 4, dtype=torch.int64), process.mask)
    asked = []

    def denoiser(z, t, condition=None):
        asked.append((z, t))
        return Denoiser(ExactMasked(joint), Substitution(process))(z, t)

    draw(denoiser, Confidence(process, 4, num_steps=4, block_length=2), start, Noise(torch.arange(3), 0))
    for z, t in asked:
        share = (z == process.mask).double().mean(1).clamp(min=1 / 4)  # what is complete is asked for nothing
        zero, one = torch.zeros_like(share), torch.ones_like(share)
        expected = share.clamp(1 - schedule.survival(zero), 1 - schedule.survival(one))
        torch.testing.assert_close(1 - schedule.survival(t), expected)
        assert bool(((t >= 0) & (t <= 1)).all())
    if isinstance(schedule, LogLinearSchedule):
        assert [float(t[0]) for _, t in asked] == pytest.approx([1, 0.75, 0.5, 0.25])  # the steps' own


SURENESS = {
    "confidence": lambda probs: probs.max(-1).values,
    "entropy": lambda probs: torch.xlogy(probs, probs).sum(-1),
    "margin": lambda probs: probs.topk(2, dim=-1).values @ torch.tensor([1.0, -1.0], dtype=probs.dtype),
}


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("by", list(SURENESS))
def test_at_temperature_0_the_order_is_that_of_the_untempered_prediction(by, scale):
    """The likeliest token of each position, the surest first: by the probabilities of the network and its guidance."""
    orders = set()
    for seed in range(6):
        joint = Joint.random(3, 4, seed=seed)
        process, parameterization, network = masked(joint)
        prompt = GivenTokens(torch.tensor([2, 0, 0, 0]), torch.tensor([True, False, False, False]), process.mask)
        transforms = (ClassifierFree(process, network, None, scale=scale), Nucleus(process, 0.0))
        sampler = Confidence(process, 4, num_steps=4, by=by)
        pipeline = Pipeline(network, parameterization, process, Tokens(3, None), sampler, transforms, (4,))
        states = []
        pipeline.draw(1, constraint=prompt, on_step=lambda step, states=states: states.append(step.z[0].tolist()))
        state, expected = torch.tensor([2, 3, 3, 3]), []
        for _ in range(3):
            given, free = (network(z[None], None)[0] for z in (state, prompt.without(state)))
            probs = (free + scale * (given - free)).softmax(-1)
            surest = int(torch.where(state == process.mask, SURENESS[by](probs), -torch.inf).argmax())
            state[surest] = probs[surest].argmax()
            expected.append(state.tolist())
        assert [*expected, expected[-1]] == states  # the last step finds no mask
        orders.add(tuple(token == process.mask for token in expected[0]))
    assert len(orders) > 1


def test_given_tokens_stay_and_the_rest_is_drawn_given_them():
    joint = Joint.random(3, 3, sharpness=2.0)
    process, parameterization, network = masked(joint)
    given = GivenTokens(torch.tensor([0, 2, 0]), torch.tensor([False, True, False]))
    samples = sampled(process, parameterization, network, FirstHitting(process, 3), constraint=given)
    assert bool((samples[:, 1] == 2).all())
    kept = joint.sequences[:, 1] == 2
    expected = torch.where(kept, joint.probs, 0) / joint.probs[kept].sum()
    found = counts_of(joint, samples)
    assert stats.chisquare(found[kept].numpy(), (COUNT * expected[kept]).numpy()).pvalue > 1e-3


SAMPLERS = {
    "first_hitting": lambda p: FirstHitting(p, 4),
    "confidence": lambda p: Confidence(p, 4, num_steps=4, block_length=2),
    "ancestral": lambda p: Ancestral(p, even(p), num_steps=4),
    "remasking": lambda p: Remasking(p, even(p), 4, 0.5),
    "tweedie": lambda p: Tweedie(p, even(p), 4),
    "score_euler": lambda p: ScoreEuler(p, even(p), 4),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_states_of_several_dimensions_are_drawn_as_sequences_are(name):
    process, count = Absorbing(LogLinearSchedule(remaining=1e-3), 3), 50
    raw, noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), Noise(torch.arange(count), 0)

    def drawn(*shape):
        def network(z, c_noise, condition):
            return raw.view(*shape, 3) * c_noise.view(count, *(1,) * len(shape), 1) / 1000

        denoiser = Denoiser(network, Substitution(process))
        return draw(denoiser, SAMPLERS[name](process), process.prior(shape, noise.at("prior")), noise)

    assert torch.equal(drawn(2, 2).flatten(1), drawn(4))


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_drawn_is_on_the_device_of_the_noise(name):
    process = Absorbing(LogLinearSchedule(remaining=1e-3), 3)
    denoiser = Denoiser(lambda z, *_: torch.zeros(*z.shape, 3, device=z.device), Substitution(process))
    with pretended_device() as device:
        noise = Noise(torch.arange(2, device=device), 0)
        start = process.prior((4,), noise.at("prior"))
        assert isinstance(draw(denoiser, SAMPLERS[name](process), start, noise), There)


def test_a_network_without_a_time_is_asked_once_for_a_state():
    joint = Joint.random(3, 3)
    process, parameterization, network = masked(joint)
    pipeline = Pipeline(
        network,
        parameterization,
        process,
        Tokens(3, None),
        Ancestral(process, even(process), num_steps=500),
        (),
        (3,),
    )
    drawn = pipeline.draw(64)
    assert drawn.evaluations <= 4  # none, one, two or three tokens are open
    network.takes_time = True
    again = pipeline.draw(64)
    assert again.evaluations == 500
    assert torch.equal(again.samples, drawn.samples)


def test_temperature_and_top_p():
    log_probs = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    process = Absorbing(LogLinearSchedule(), 4)
    cold = Nucleus(process, temperature=0.5).changed(log_probs).exp()
    squares = torch.tensor([[0.25, 0.09, 0.0225, 0.0025]])
    torch.testing.assert_close(cold, squares / squares.sum())
    assert Nucleus(process, temperature=0.0).changed(log_probs).exp().tolist() == [[1, 0, 0, 0]]
    cut = Nucleus(process, top_p=0.75).changed(log_probs).exp()
    torch.testing.assert_close(cut, torch.tensor([[0.625, 0.375, 0.0, 0.0]]))
    assert Nucleus(process, top_p=0.0).changed(log_probs).exp().tolist() == [[1, 0, 0, 0]]


def test_a_temperature_and_a_truncation_are_facts_of_the_samples():
    process = Absorbing(LogLinearSchedule(), 4)
    assert Nucleus(process).facts == {"temperature": 1.0}
    assert Nucleus(process, 0.5).facts == {"temperature": 0.5}
    assert Nucleus(process, 0.5, 0.9).facts == {"temperature": 0.5, "top-p": 0.9}


def test_the_set_of_likely_tokens_ends_where_its_probability_reaches_top_p():
    log_probs = torch.tensor([[0.25, 0.5, 0.125, 0.125]]).log()
    process = Absorbing(LogLinearSchedule(), 4)
    half = float(log_probs.exp()[0, 1])
    for top_p, expected in {half: [0, 1, 0, 0], half + 1e-5: [1 / 3, 2 / 3, 0, 0], 0.7: [1 / 3, 2 / 3, 0, 0]}.items():
        found = Nucleus(process, top_p=top_p).changed(log_probs).exp()[0]
        assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(Nucleus(process).changed(log_probs), log_probs)


@pytest.mark.parametrize("temperature", [1e-6, 1e-39, 1e-300])
def test_the_smallest_temperatures_give_the_likeliest_token(temperature):
    log_probs = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).log()
    found = Nucleus(Absorbing(LogLinearSchedule(), 4), temperature).changed(log_probs)
    assert found.exp().tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize("kind", [Absorbing, Uniform])
def test_at_a_temperature_of_1_scores_that_are_those_of_no_probabilities_stay_what_they_are(kind):
    process = kind(LogLinearSchedule(remaining=1e-3), 3)
    scores = torch.randn(3, generator=torch.Generator().manual_seed(0))
    denoiser = Denoiser(lambda z, *_: scores.expand(*z.shape, 3), LogScores(process))
    z, t = torch.full((2, 4), process.mask or 0), torch.full((2,), 0.5, dtype=torch.float64)
    plain, kept, cold = (
        change(denoiser)(z, t).log_scores(process, z, t)
        for change in (lambda one: one, Nucleus(process), Nucleus(process, 0.9))
    )
    assert torch.equal(kept, plain)
    assert not torch.allclose(cold, plain, atol=1e-3)


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), PolynomialSchedule(3.0), LogLinearSchedule(remaining=0.2)])
@pytest.mark.parametrize("given", [0, 2])
def test_masks_open_at_the_times_of_order_statistics(schedule, given):
    """What is destroyed when the k-th of n masks opens is the k-th largest of n uniform numbers.

    Where some tokens survive at t = 1, of as many as are destroyed there.
    """
    process, length, count = Absorbing(schedule, 3), 5, 20_000
    told = []

    def denoiser(z, t, condition=None):
        told.append((z == process.mask, schedule.gone(t)))
        return Denoiser(lambda z, *_: torch.zeros(*z.shape, 3), Substitution(process))(z, t)

    start = torch.full((count, length), process.mask)
    start[:, :given] = 0
    draw(denoiser, FirstHitting(process, length), start, Noise(torch.arange(count), 0))
    n = length - given
    assert all(int(masked.sum(1).min()) == int(masked.sum(1).max()) for masked, _ in told)
    most = float(schedule.gone(torch.ones((), dtype=torch.float64)))
    for k, (_, gone) in enumerate(told[:n], start=1):
        expected = stats.beta(n - k + 1, k)
        assert stats.kstest(gone.numpy() / most, expected.cdf).pvalue > 1e-4


@pytest.mark.parametrize("schedule", [LogLinearSchedule(10), GeometricSchedule(0.1, 5.0), LogLinearSchedule()])
@pytest.mark.parametrize("make", [lambda p: FirstHitting(p, 64), lambda p: Confidence(p, 64, num_steps=64)])
def test_a_network_is_told_no_time_before_those_of_its_training(make, schedule):
    joint, told = Joint.random(3, 4), []
    process = Absorbing(schedule, joint.vocab_size)

    def denoiser(z, t, condition=None):
        told.append(schedule.c_noise(t))
        return Denoiser(lambda z, *_: torch.zeros(*z.shape, 3), Substitution(process))(z, t)

    noise = Noise(torch.arange(8), 0)
    draw(denoiser, make(process), process.prior((64,), noise.at("prior")), noise)
    assert float(torch.stack(told).min()) >= 0


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda p: Confidence(p, 8, block_length=3), "block_length"),
        (lambda p: Confidence(p, 8, num_steps=0), "num_steps"),
        (lambda p: Confidence(p, 8, num_steps=3, block_length=4), "num_steps"),
        (lambda p: Remasking(p, even(p), strength=-1e-3), r"sampler\.strength must lie between 0 and 1, got -0\.001"),
        (lambda p: Remasking(p, even(p), strength=1.001), r"sampler\.strength must lie between 0 and 1, got 1\.001"),
        (lambda p: Confidence(p, 8, block_length=0), r"sampler\.block_length must divide the length 8, got 0"),
        (lambda p: Confidence(p, 8, block_length=-4), r"sampler\.block_length must divide the length 8, got -4"),
        (lambda p: Confidence(p, 8, num_steps=-2, block_length=4), r"a multiple of the number of blocks, 2, got -2"),
        (lambda p: Nucleus(p, temperature=math.inf), r"clip\.temperature must be 0 or more and finite, got inf"),
        (lambda p: Nucleus(p, top_p=-0.1), r"clip\.top_p must lie between 0 and 1, got -0\.1"),
        (lambda p: Nucleus(p, temperature=-1.0), "temperature"), (lambda p: Nucleus(p, top_p=1.1), "top_p"),
        (lambda p: Tweedie(p, even(p)), "survive"), (lambda p: ScoreEuler(p, even(p)), "survive"),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(make, key):
    with pytest.raises(ValueError, match=key):
        make(Absorbing(LogLinearSchedule(), 4))
