"""No signal is left at the last step (Lin et al. 2023, algorithm 1)."""

import pytest
import torch

from diffusion_lab.parameterizations import Eps, V
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, LinearSchedule, SigmoidSchedule


@pytest.mark.parametrize("kind", [LinearSchedule, CosineSchedule, SigmoidSchedule])
def test_alpha_is_shifted_and_scaled_so_that_its_first_value_stays_and_its_last_is_0(kind):
    before, after = (kind(zero_terminal_snr=zero).alpha_bar.sqrt() for zero in (False, True))
    assert float(after[-1]) == 0
    assert float(after[1]) == pytest.approx(float(before[1]), rel=1e-12)
    shifted = (before[1:] - before[-1]) * before[1] / (before[1] - before[-1])
    torch.testing.assert_close(after[1:], shifted, rtol=1e-9, atol=1e-12)


def test_a_schedule_without_a_signal_to_shift_and_scale_is_refused():
    with pytest.raises(ValueError, match=r"schedule\.zero_terminal_snr=true .* of 1 in all: take more steps"):
        CosineSchedule(steps=1, zero_terminal_snr=True)
    with pytest.raises(ValueError, match=r"schedule\.zero_terminal_snr=true .* take smaller betas"):
        LinearSchedule(beta_start=0.9, beta_end=0.999, zero_terminal_snr=True)  # 0 in float64 long before the end


def test_noise_cannot_be_predicted_then():
    process = Gaussian(LinearSchedule(zero_terminal_snr=True))
    with pytest.raises(ValueError, match=r"parameterization=eps does not go with a schedule that leaves no signal"):
        Eps(process)
    V(process)
