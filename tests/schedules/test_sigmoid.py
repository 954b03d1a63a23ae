import math

import pytest

from diffusion_lab.schedules import SigmoidSchedule


def s(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("start", "end", "temperature"), [(-3, 3, 1), (0, 3, 0.3), (-3, 3, 0.7)])
@pytest.mark.parametrize("row", [1, 250, 500, 999])
def test_alpha_bar_is_a_part_of_a_sigmoid(start, end, temperature, row):
    """Chen 2023, "On the importance of noise scheduling", algorithm 1."""
    low, high, here = (s(x / temperature) for x in (start, end, start + row / 1000 * (end - start)))
    expected = (high - here) / (high - low)
    found = float(SigmoidSchedule(1000, start, end, temperature).alpha_bar[row])
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_last_beta_is_clipped():
    assert float(SigmoidSchedule(max_beta=0.99).betas[-1]) == pytest.approx(0.99)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 1}, {"start": 3.0}, {"start": -math.inf}, {"temperature": 0.0}, {"temperature": math.inf},
        {"max_beta": 1.0}, {"max_beta": 0.0}, {"start": -1.0, "end": -1.0}, {"end": math.inf},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"schedule\.{next(iter(wrong))}.* are needed"):
        SigmoidSchedule(**wrong)


@pytest.mark.parametrize("zero", [False, True])
def test_two_steps_are_the_fewest(zero):
    """Half of the signal is left after the first, and nothing, or as much as betas allow, after the last."""
    betas = SigmoidSchedule(2, zero_terminal_snr=zero).betas
    assert betas.tolist() == pytest.approx([0.5, 1 if zero else 0.999], rel=1e-12)
