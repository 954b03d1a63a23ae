import math

import pytest
import torch

from diffusion_lab.schedules import CosineSchedule


def test_constants_of_1000_steps():
    schedule = CosineSchedule(1000)
    assert float(schedule.betas[0]) == pytest.approx(4.1284e-5, rel=2e-5)
    assert float(schedule.alpha_bar[-1]) == pytest.approx(2.43e-9, rel=2e-3)


def test_exactly_the_last_beta_is_clipped():
    betas = CosineSchedule(1000).betas
    assert betas[-1] == 0.999
    assert betas[:-1].max() < 0.999
    assert bool((betas.diff() > 0).all())


@pytest.mark.parametrize("index", [0, 500, 998])
def test_alpha_bar_follows_the_squared_cosine(index):
    """Nichol & Dhariwal 2021, eq. 17; the clipped last beta is the one exception."""
    f = [math.cos((n / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for n in (index + 1, 0)]
    assert float(CosineSchedule(1000).alpha_bar[index + 1]) == pytest.approx(f[0] / f[1], rel=1e-10)


def test_max_beta_and_offset_are_heeded():
    assert CosineSchedule(1000, max_beta=0.5).betas.max() == 0.5
    assert CosineSchedule(1000, offset=0.0).betas[0] < CosineSchedule(1000, offset=0.1).betas[0]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"steps": 0}, "schedule.steps"),
        ({"offset": -0.1}, "schedule.offset"),
        ({"offset": math.nan}, "schedule.offset"),
        ({"offset": math.inf, "steps": None, "zero_terminal_snr": True}, "schedule.offset"),
        ({"max_beta": 1.0}, "schedule.max_beta"),
        ({"max_beta": 0.0}, "schedule.max_beta"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, key):
    with pytest.raises(ValueError, match=key):
        CosineSchedule(**arguments)


def test_few_steps_are_possible():
    assert torch.all(CosineSchedule(1).betas == 0.999)
