"""Log-scores: what they need of a schedule, and what is left of them for the last positions."""

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
