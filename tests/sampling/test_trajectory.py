import pytest
import torch

from diffusion_lab.sampling import Step, Trajectory


def recorded(pairs, frames):
    trajectory = Trajectory(frames, keep=1)
    trajectory.start(torch.full((2, 1), -1.0))
    for number, (t, s) in enumerate(pairs):
        trajectory.record(Step(number, len(pairs), t, s, torch.full((2, 1), float(number))))
    return trajectory


@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_ten_frames_are_kept_evenly_and_the_last_one_is_the_sample(steps):
    pairs = [((steps - k) / steps, (steps - k - 1) / steps) for k in range(steps)]
    trajectory = recorded(pairs, 10)
    assert trajectory.times == pytest.approx([1 - k / 10 for k in range(11)])
    assert [float(state) for state in trajectory.states] == [-1, *(steps // 10 * k - 1 for k in range(1, 11))]


@pytest.mark.parametrize("frames", [2, 10])
def test_where_noise_is_left_at_time_0_the_last_state_is_that_of_the_last_step(frames):
    """EDM's last step leads from sigma_min, which is t = 0, to clean data."""
    trajectory = recorded([(1.0, 0.5), (0.5, 0.0), (0.0, 0.0)], frames)
    assert float(trajectory.states[-1]) == 2
    assert trajectory.times[-1] == 0


def test_only_the_first_samples_are_kept():
    assert recorded([(1.0, 0.0)], 1).states[0].shape == (1, 1)
