"""Absorbing and uniform processes against matrix exponentials, brute-force Bayes and each other's bounds."""

import pytest
import torch
from scipy import stats

from diffusion_lab.noise import Noise
from diffusion_lab.objectives import TokenBound
from diffusion_lab.parameterizations import Denoiser, Logits, LogScores
from diffusion_lab.processes import Absorbing, TokenLogProbs, Uniform
from diffusion_lab.schedules import GeometricSchedule, LogLinearSchedule, PolynomialSchedule
from pretended_device import There, pretended_device

V = 4
PROCESSES = {"absorbing": Absorbing, "uniform": Uniform}


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


def rate_matrix(process):
    """Q with Q[x, y] the rate from x to y, for a rate of the schedule of 1."""
    return process.limit.expand(process.num_states, -1) - torch.eye(process.num_states, dtype=torch.float64)


@pytest.mark.parametrize(("name", "limit"), [("absorbing", [0, 0, 0, 0, 1]), ("uniform", [0.25] * 4)])
def test_what_is_destroyed_has_the_limit_as_its_distribution(name, limit):
    process = PROCESSES[name](LogLinearSchedule(), V)
    assert (process.limit.tolist(), process.limit.dtype) == (limit, torch.float64)
    assert process.provides() == {"num_states": len(limit)}
    assert process.facts == {"temperature": 1.0}
    u = (torch.arange(8, dtype=torch.float64) / 8).expand(2, 8)
    assert process.destroyed(u)[1].tolist() == ([4] * 8 if name == "absorbing" else [0, 0, 1, 1, 2, 2, 3, 3])
    assert process.destroyed(torch.tensor([1 - 2**-53], dtype=torch.float64)).tolist() == [len(limit) - 1]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("schedule", [LogLinearSchedule(), GeometricSchedule(), PolynomialSchedule(3.0)])
def test_transitions_are_matrix_exponentials_of_the_rates(name, schedule):
    process = PROCESSES[name](schedule, V)
    s, t = times(0.3), times(0.7)
    states = torch.arange(process.num_states)[:, None]
    every = len(states)
    found = process.transition(states, s.expand(every), t.expand(every)).log_probs.exp()[:, 0]
    grown = schedule.total(t) - schedule.total(s)
    torch.testing.assert_close(found, torch.matrix_exp(float(grown) * rate_matrix(process)))


@pytest.mark.parametrize("name", PROCESSES)
def test_states_are_drawn_as_the_marginal_says(name):
    process = PROCESSES[name](LogLinearSchedule(), V)
    count, t = 20_000, 0.6
    z0 = torch.full((count, 1), 2)
    z_t = process.sample(z0, times(t).expand(count), Noise(torch.arange(count), 0)).z_t
    expected = torch.matrix_exp(float(process.schedule.total(times(t))) * rate_matrix(process))[2]
    counts = torch.bincount(z_t.flatten(), minlength=process.num_states)
    there = expected > 1e-9
    assert int(counts[~there].sum()) == 0
    assert stats.chisquare(counts[there].numpy(), (count * expected[there]).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("name", PROCESSES)
def test_the_posterior_of_known_tokens_is_that_of_bayes(name):
    process = PROCESSES[name](PolynomialSchedule(1.5), V)
    s, t = times(0.25), times(0.8)
    to_s, to_t = (torch.matrix_exp(float(process.schedule.total(x)) * rate_matrix(process)) for x in (s, t))
    between = torch.linalg.solve(to_s, to_t)
    for token in range(V):
        for state in range(process.num_states):
            joint = to_s[token] * between[:, state]
            if joint.sum() < 1e-12:
                continue
            z_t, known = torch.tensor([[state]]), process.known(torch.tensor([[token]]))
            found = process.posterior(z_t, known, t, s).log_probs.exp()[0, 0]
            torch.testing.assert_close(found, joint / joint.sum(), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", PROCESSES)
def test_an_uncertain_prediction_is_mixed_by_its_joint_probabilities(name):
    """D3PM, eq. 4: proportional to Σ_x p(x) q(z_t | z_s) q(z_s | x)."""
    process = PROCESSES[name](LogLinearSchedule(), V)
    s, t = times(0.25), times(0.8)
    probs = torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)
    to_s, to_t = (torch.matrix_exp(float(process.schedule.total(x)) * rate_matrix(process)) for x in (s, t))
    between, state = torch.linalg.solve(to_s, to_t), process.num_states - 1
    joint = (probs[:, None] * to_s[:V] * between[:, state]).sum(0)
    prediction = TokenLogProbs(probs.log()[None, None])
    found = process.posterior(torch.tensor([[state]]), prediction, t, s).log_probs.exp()[0, 0]
    torch.testing.assert_close(found, joint / joint.sum(), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_token_that_the_prediction_excludes_is_kept_only_where_nothing_else_is_left(name):
    """A truncation may leave no probability to the token that stands there, which cannot be another one at t = 0."""
    process = PROCESSES[name](LogLinearSchedule(), V)
    others = TokenLogProbs(torch.tensor([0.0, 0.75, 0.25, 0.0], dtype=torch.float64).log()[None, None])
    state = torch.tensor([[0]])  # which the prediction excludes
    at_data = process.clean_posterior(others, state, times(0.0)).exp()[0, 0]
    assert at_data.tolist() == [1, 0, 0, 0]
    if name == "uniform":  # it may have been another one: those keep their shares
        later = process.clean_posterior(others, state, times(0.5)).exp()[0, 0]
        torch.testing.assert_close(later, torch.tensor([0, 0.75, 0.25, 0], dtype=torch.float64))


def test_the_prior_has_what_the_end_of_the_schedule_leaves():
    process = Absorbing(LogLinearSchedule(remaining=0.2), V)
    z = process.prior((50,), Noise(torch.arange(400), 0))
    assert float((z == process.mask).double().mean()) == pytest.approx(0.8, abs=0.02)
    assert stats.chisquare(torch.bincount(z[z != process.mask], minlength=V).numpy()).pvalue > 1e-3
    assert float(process.prior_kl(torch.zeros(3, 50, dtype=torch.int64))[0]) == pytest.approx(
        50 * (0.2 * torch.log(torch.tensor(4.0))).item()
    )


def test_the_prior_of_uniform_tokens_is_as_far_from_known_ones_as_the_schedule_leaves_them():
    process = Uniform(LogLinearSchedule(remaining=0.2), V)
    known = torch.tensor([0.2 + 0.8 / V, *[0.8 / V] * (V - 1)], dtype=torch.float64)
    expected = 50 * float((known * (known * V).log()).sum())
    assert process.prior_kl(torch.zeros(3, 50, dtype=torch.int64)).tolist() == pytest.approx([expected] * 3, rel=1e-12)
    assert float(Uniform(LogLinearSchedule(), V).prior_kl(torch.zeros(1, 50, dtype=torch.int64))) == 0


@pytest.mark.parametrize("name", PROCESSES)
def test_nothing_is_lost_in_the_bound_by_one_who_knows(name):
    process = PROCESSES[name](LogLinearSchedule(), V)
    z0 = torch.randint(V, (64, 5), generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.01, 1, 64, dtype=torch.float64)
    z_t = process.sample(z0, t, Noise(torch.arange(64), 0)).z_t
    assert process.bound(process.known(z0), z0, z_t, t).abs().max() < 1e-4


@pytest.mark.parametrize("name", PROCESSES)
def test_the_bound_of_steps_is_the_divergence_of_two_steps_back(name):
    """T KL(q(z_s | z_t, z0) ‖ q(z_s | z_t, prediction)) by matrices and sums over all states; D3PM, eq. 1 and 4."""
    steps = 4
    process = PROCESSES[name](LogLinearSchedule(steps, remaining=0.1), V)
    probs = torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.3, 0.2, 0.4]], dtype=torch.float64)
    z0 = (0, 3)

    def backward(x0, state, t):
        """Σ_x x0(x) q(z_t | z_s) q(z_s | x) over z_s, as probabilities."""
        to = [
            torch.matrix_exp(float(process.schedule.total(times(n / steps))) * rate_matrix(process)) for n in (t - 1, t)
        ]
        joint = (x0 @ to[0][:V]) * torch.linalg.solve(*to)[:, state]
        return joint / joint.sum()

    for t in range(1, steps + 1):
        for states in ((1, 1), (V, 3), (V, V), (0, 3)):
            states = [min(state, process.num_states - 1) for state in states]
            if name == "absorbing":
                states = [state if state == V else token for state, token in zip(states, z0, strict=True)]
            expected = 0.0
            for token, predicted, state in zip(z0, probs, states, strict=True):
                exact = backward(torch.eye(V, dtype=torch.float64)[token], state, t)
                expected += (
                    steps
                    / 2
                    * float((torch.xlogy(exact, exact) - torch.xlogy(exact, backward(predicted, state, t))).sum())
                )
            found = process.bound(
                TokenLogProbs(probs.log()[None]), torch.tensor([z0]), torch.tensor([states]), times(t / steps)
            )
            assert found.dtype == torch.float32
            assert float(found) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_score_entropy_of_scores_made_from_tokens_is_the_bound_of_the_tokens(name):
    """SEDD, eq. 9, and MDLM, eq. 10, or UDLM, eq. 19, elementwise."""
    process = PROCESSES[name](LogLinearSchedule(remaining=1e-3), V)
    generator = torch.Generator().manual_seed(1)
    z0 = torch.randint(V, (64, 5), generator=generator)
    t = torch.linspace(0.02, 1, 64, dtype=torch.float64)
    z_t = process.sample(z0, t, Noise(torch.arange(64), 0)).z_t
    logits = torch.randn(64, 5, V, generator=generator)
    tokens = TokenLogProbs(logits.log_softmax(-1))
    scores = process.log_scores_of(tokens, z_t, t)
    raw = scores.nan_to_num(neginf=0.0)
    if name == "absorbing":
        raw = tokens.log_probs + torch.tensor(float(V)).log()  # what LogScores subtracts besides log(e^σ − 1)
    prediction = LogScores(process).prediction(raw.float(), z_t, t)
    found = prediction.bound_rate(process, z0, z_t, t)
    expected = process.bound_rate(tokens, z0, z_t, t)
    torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prediction.nll(z0)[z_t == V], tokens.nll(z0)[z_t == V], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PROCESSES)
def test_predictions_of_single_precision_are_calculated_with_in_double_precision(name):
    process = PROCESSES[name](LogLinearSchedule(remaining=1e-3), V)
    s, t = times(0.2, 0.3), times(0.4, 0.9)
    z_t, z0 = torch.tensor([[0, 1, V - 1], [2, V - 1, 3]]) + (name == "absorbing"), torch.tensor([[0, 1, 2], [2, 1, 3]])
    rounded = torch.randn(2, 3, V, generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    single, double = TokenLogProbs(rounded), TokenLogProbs(rounded.double())
    for of in (
        lambda one: process.posterior(z_t, one, t, s).log_probs,
        lambda one: process.clean_posterior(one, z_t, t),
        lambda one: process.log_scores_of(one, z_t, t),
        lambda one: process.bound_rate(one, z0, z_t, t),
    ):
        assert torch.equal(of(single), of(double))
        assert of(single).dtype == torch.float64


def test_scores_and_tokens_say_the_same_of_uniform_states():
    process = Uniform(LogLinearSchedule(remaining=1e-3), V)
    t, z_t = times(0.1, 0.5), torch.tensor([[0, 1], [2, 3]])
    tokens = torch.randn(2, 2, V, generator=torch.Generator().manual_seed(2), dtype=torch.float64).log_softmax(-1)
    scores = process.log_scores_of(TokenLogProbs(tokens), z_t, t)
    torch.testing.assert_close(process.x0_of(scores, z_t, t), tokens)


@pytest.mark.parametrize(("name", "state"), [("uniform", [0, 2]), ("absorbing", [V, V])])
def test_the_score_entropy_is_0_at_the_true_ratio_and_above_elsewhere(name, state):
    process = PROCESSES[name](LogLinearSchedule(remaining=1e-3), V)
    z0, z_t, t = torch.tensor([[0, 1]]), torch.tensor([state]), times(0.4)
    true = process.known(z0).log_scores(process, z_t, t)
    raw = true - process.scores_of_raw(torch.zeros(1, 2, V), z_t, t)
    entropies = []
    for change in (0.0, 0.5, -0.5):
        prediction = LogScores(process).prediction((raw + change).float(), z_t, t)
        entropies.append(prediction.bound_rate(process, z0, z_t, t))
    assert entropies[0].abs().max() < 1e-5
    assert min(float(e.min()) for e in entropies[1:]) > 1e-3


def test_the_weight_of_a_mask_is_exponent_over_time_however_early():
    process = Absorbing(PolynomialSchedule(5.0), V)
    early, masked = times(1e-10), torch.tensor([[process.mask]])
    tokens = TokenLogProbs(torch.full((1, 1, V), 1 / V).log())
    rate = float(process.bound_rate(tokens, torch.tensor([[1]]), masked, early))
    assert rate == pytest.approx(5e10 * torch.tensor(float(V)).log().item(), rel=1e-6)
    opened = process.posterior(masked, tokens, early, early / 2).log_probs.exp()[0, 0]
    torch.testing.assert_close(opened, times(*[31 / 32 / V] * V, 1 / 32), rtol=1e-6, atol=0)


@pytest.mark.parametrize("exponent", [5.0, 40.0])  # with 40, what is destroyed is 0 in floating point
@pytest.mark.parametrize("parameterization", [Logits, LogScores])
def test_what_is_open_adds_nothing_to_the_bound_however_early(parameterization, exponent):
    process = Absorbing(PolynomialSchedule(exponent, remaining=1e-3), V)
    z0, early = torch.tensor([[0, 1, 2]]), times(1e-10)
    raw = torch.randn(1, 3, V, generator=torch.Generator().manual_seed(4)).requires_grad_()
    bound = process.bound(parameterization(process).prediction(raw, z0, early), z0, z0, early)
    bound.sum().backward()
    assert bound.tolist() == [0]
    assert not raw.grad.any()


def test_another_token_early_on_is_told_from_the_data_by_scores_and_posterior():
    """Of uniform tokens, where what is destroyed is below the rounding of 1: t^5 = 1e-20."""
    process = Uniform(PolynomialSchedule(5.0, remaining=1e-3), V)
    t, z_t, known = times(1e-4), torch.tensor([[2]]), process.known(torch.tensor([[0]]))
    gone = 0.999e-20
    scores = process.log_scores_of(known, z_t, t).exp()[0, 0]
    torch.testing.assert_close(scores, times(V / gone, 1, 1, 1), rtol=1e-9, atol=0)
    back = process.posterior(z_t, known, t, 0 * t).log_probs.exp()[0, 0]
    torch.testing.assert_close(back, times(1, 0, 0, 0))


def test_scores_that_allow_a_token_nowhere_leave_it_a_small_probability():
    process = Uniform(LogLinearSchedule(), 3)
    scores = torch.tensor([[[1.0, 0.1, 1.0]]]).log()  # x̄ of the second token is 1/7, and 1 − α is 1/2
    probs = process.x0_of(scores, torch.tensor([[0]]), times(0.5)).exp()[0, 0]
    torch.testing.assert_close(probs, torch.tensor([0.5, 0.0, 0.5]), atol=1e-6, rtol=0)
    assert 1e-8 < float(probs[1]) < 1e-7


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, 5.0])
def test_guidance_by_scores_that_allow_a_token_nowhere_is_of_probabilities(scale):
    process = Uniform(LogLinearSchedule(remaining=1e-3), 3)
    t, z_t = times(0.5), torch.tensor([[0]])
    free, given = (
        LogScores(process).prediction(torch.tensor([[scores]]).log(), z_t, t)
        for scores in ([1.0, 0.1, 1.0], [1.0, 1.0, 1.0])
    )
    for prediction, other in ((given, free), (free, given)):
        torch.testing.assert_close(prediction.guided(other, scale).exp().sum(-1), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(0.0, [1.0, 0.0, 0.0]), (0.5, [1.0, 0.0, 0.0]), (1.0, [0.5, 0.5, 0.0]), (2.0, [0.0, 1.0, 0.0])],
)
def test_guidance_towards_what_is_impossible_without_a_label_takes_the_limit(scale, expected):
    free, given = (TokenLogProbs(torch.tensor([[probs]]).log()) for probs in ([0.4, 0.0, 0.6], [0.5, 0.5, 0.0]))
    torch.testing.assert_close(given.guided(free, scale).exp()[0, 0], torch.tensor(expected), atol=1e-6, rtol=1e-4)
    only = TokenLogProbs(torch.tensor([[[0.0, 1.0, 0.0]]]).log())
    assert only.guided(free, scale).exp().tolist() == [[[0, 1, 0]]]


@pytest.mark.parametrize(("steps", "kind", "scale"), [(None, LogScores, 2), (16, Logits, 2), (16, Logits, 2000)])
def test_losses_of_uniform_tokens_are_finite(steps, kind, scale):
    """With scores that fit no probabilities, and with logits of any size; in steps the time before the first is 0."""
    process = Uniform(LogLinearSchedule(steps, remaining=1e-3), V)
    generator = torch.Generator().manual_seed(5)
    z0, t = torch.randint(V, (512, 4), generator=generator), (torch.arange(512) % 16 + 1).double() / 16
    raw = (scale * torch.randn(512, 4, V, generator=generator)).requires_grad_()
    denoiser = Denoiser(lambda *_: raw, kind(process))
    terms = TokenBound(process, 0.01)(denoiser, z0, t, Noise(torch.arange(512), 6))
    terms["loss"].sum().backward()
    assert all(bool(term.isfinite().all()) for term in terms.values())
    assert bool(raw.grad.isfinite().all())


def test_scores_need_continuous_time():
    with pytest.raises(ValueError, match="parameterization=log_scores needs continuous time"):
        LogScores(Uniform(LogLinearSchedule(16, remaining=1e-3), V))


def test_gradients_are_finite_with_all_and_with_no_token_masked():
    from diffusion_lab.parameterizations import Substitution

    process = Absorbing(LogLinearSchedule(), V)
    raw = torch.zeros(2, 3, V, requires_grad=True)
    z0 = torch.tensor([[0, 1, 2], [3, 2, 1]])
    z_t = torch.stack([torch.full((3,), process.mask), z0[1]])
    loss = process.bound(Substitution(process).prediction(raw, z_t, times(1.0, 1e-9)), z0, z_t, times(1.0, 1e-9))
    loss.sum().backward()
    assert bool(raw.grad.isfinite().all())
    assert float(loss.detach()[1]) == 0


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("steps", [None, 4])
def test_everything_is_on_the_device_of_the_states(name, steps):
    process = PROCESSES[name](LogLinearSchedule(steps, remaining=0.1), V)
    with pretended_device() as device:
        noise, z0 = Noise(torch.arange(2, device=device), 0), torch.tensor([[0, 1, 2], [2, 1, 3]], device=device)
        s, t = (torch.full((2,), time, dtype=torch.float64, device=device) for time in (0.25, 0.75))
        z_t, known = process.sample(z0, t, noise).z_t, process.known(z0)
        scores = process.log_scores_of(known, z_t, t)
        for found in (
            z_t, process.prior((3,), noise), process.prior_kl(z0), process.transition(z0, s, t).sample(noise),
            process.posterior(z_t, known, t, s).sample(noise), process.clean(known, z_t, t, noise),
            process.confidence(known, z_t, z0), process.bound(known, z0, z_t, t), process.jump_rate(z_t), scores,
            process.x0_of(scores, z_t, t), process.scores_of_raw(scores, z_t, t),
        ):  # fmt: skip
            assert isinstance(found, There)
