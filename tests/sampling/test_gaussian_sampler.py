"""What the solvers of a Gaussian process have in common."""

import pytest
import torch

from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM
from diffusion_lab.sampling.grids import Trailing
from grid_schedules import Preserving


@pytest.mark.parametrize(("times", "signal"), [([0.1, 0.499], True), ([0.1, 0.5], False), ([0.6, 0.7], False)])
def test_a_state_has_signal_above_a_log_snr_of_minus_15(times, signal):
    schedule = Preserving(0.0, -30.0)
    sampler = DDIM(Gaussian(schedule), Trailing(schedule), 2)
    assert sampler.has_signal(torch.tensor(times, dtype=torch.float64)) is signal
