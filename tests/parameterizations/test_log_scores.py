"""Log-scores: what they need of a schedule, and what is left of them for the last positions."""

import math

import pytest
import torch

from diffusion_lab.parameterizations import LogScores
from diffusion_lab.processes import Absorbing, Uniform
from diffusion_lab.schedules import GeometricSchedule, LogLinearSchedule

V = 3


@pytest.mark.parametrize("kind", [Absorbing, Uniform])
def test_scores_need_tokens_that_survive(kind):
    with pytest.raises(ValueError, match="parameterization=log_scores needs some tokens that survive"):
        LogScores(kind(LogLinearSchedule(), V))
    for schedule in (LogLinearSchedule(remaining=1e-12), GeometricSchedule()):
        assert LogScores(kind(schedule, V)).provides() == {"num_outputs": V}


@pytest.mark.parametrize("kind", [Absorbing, Uniform])
@pytest.mark.parametrize("shape", [(2,), (2, 4)])
@pytest.mark.parametrize("count", [1, 3])
def test_the_last_positions_keep_their_states_and_times(kind, shape, count):
    """With one time for each sequence, and with one for each position."""
    process = kind(LogLinearSchedule(remaining=1e-3), V)
    generator = torch.Generator().manual_seed(0)
    t = torch.rand(shape, generator=generator, dtype=torch.float64)
    z_t = torch.randint(process.num_states, (2, 4), generator=generator)
    whole = LogScores(process).prediction(torch.randn(2, 4, V, generator=generator), z_t, t)
    last = whole.last(count)
    torch.testing.assert_close(last.x0, whole.x0[:, -count:])
    scores = last.log_scores(process, z_t[:, -count:], t)
    assert torch.equal(scores, whole.log_scores(process, z_t, t)[:, -count:])
    assert scores.dtype == torch.float64
    t_last = t if t.ndim == 1 else t[:, -count:]
    z0 = torch.randint(V, (2, 4), generator=generator)
    if kind is Absorbing:
        z0 = torch.where(z_t == process.mask, z0, z_t)
    rates = whole.bound_rate(process, z0, z_t, t)[:, -count:]
    torch.testing.assert_close(last.bound_rate(process, z0[:, -count:], z_t[:, -count:], t_last), rates)


@pytest.mark.parametrize(("kind", "states"), [(Absorbing, [V, V, 1]), (Uniform, [0, 2, 1])])
def test_the_score_entropy_is_summed_in_double_precision(kind, states):
    """σ' Σ_y Q [s_y − r_y log s_y + r_y (log r_y − 1)] over the other tokens, number by number (SEDD, eq. 9)."""
    remaining, time, clean = 1e-3, 0.3, [0, 0, 1]
    process = kind(LogLinearSchedule(remaining=remaining), V)
    t, z_t, z0 = torch.tensor([time], dtype=torch.float64), torch.tensor([states]), torch.tensor([clean])
    raw = 3 * torch.randn(1, 3, V, generator=torch.Generator().manual_seed(1))
    prediction = LogScores(process).prediction(raw, z_t, t)
    gone = (1 - remaining) * time
    rate = (1 - remaining) / (1 - gone)
    expected = []
    for state, token, logs in zip(states, clean, prediction.scores[0].double().tolist(), strict=True):
        if kind is Absorbing:  # p_t(y)/p_t(mask), and nothing comes to an open token
            jump = float(state == V)
            ratios = [(1 - gone) / gone if y == token else 0.0 for y in range(V)]
        else:
            jump = 1 / V
            marginal = [gone / V + (1 - gone) * (y == token) for y in range(V)]
            ratios = [share / marginal[state] for share in marginal]
        terms = [
            math.exp(log_s) + (r * (math.log(r) - 1 - log_s) if r else 0.0)
            for y, (log_s, r) in enumerate(zip(logs, ratios, strict=True))
            if y != state and jump
        ]
        expected.append(rate * jump * sum(terms))
    found = prediction.bound_rate(process, z0, z_t, t)[0]
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=0)
