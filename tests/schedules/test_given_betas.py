import pytest
import torch

from diffusion_lab.schedules import GivenBetas, LinearSchedule

#: Its betas say the number of steps and the signal at the end.
REFUSED = {"there is no key": {"terminal": "yes", "time": "continuous"}}


def test_signal_is_the_product_of_what_each_step_leaves():
    schedule = GivenBetas([0.5, 0.2, 0.9])
    assert schedule.steps == 3
    t = torch.tensor([0, 1 / 3, 2 / 3, 1], dtype=torch.float64)
    expected = torch.tensor([1, 0.5, 0.4, 0.04], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha(t) ** 2, expected, rtol=1e-12, atol=0)
    assert schedule.betas.tolist() == [0.5, 0.2, 0.9]


def test_the_betas_of_a_schedule_give_that_schedule():
    linear = LinearSchedule(100)
    given = GivenBetas((1e-4 * 10 + torch.arange(100, dtype=torch.float64) / 99 * (0.02 - 1e-4) * 10).tolist())
    t = torch.linspace(0.005, 1, 57, dtype=torch.float64)
    torch.testing.assert_close(given.log_snr(t), linear.log_snr(t), rtol=0, atol=1e-12)


@pytest.mark.parametrize("betas", [[], [0.5, 1.0, 0.5], [0.0, 0.5], [-0.1]])
def test_betas_out_of_their_range_are_refused(betas):
    with pytest.raises(ValueError, match="beta"):
        GivenBetas(betas)
