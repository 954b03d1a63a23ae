import pytest
import torch

from diffusion_lab.codecs import Tokens
from diffusion_lab.parameterizations import Logits, LogScores, Substitution
from diffusion_lab.processes import Absorbing, Uniform
from diffusion_lab.sampling import Ancestral, GivenTokens, Nucleus, Pipeline, Remasking, Step, Trajectory, Tweedie
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import LogLinearSchedule
from diffusion_lab.vocabulary import Characters
from oracles.markov_text import ExactMasked, ExactUniform, Joint


def recorded(pairs, frames):
    trajectory = Trajectory(frames, keep=1)
    for number, (t, s) in enumerate(pairs):
        after, before = (torch.full((2, 1), float(of)) for of in (number, number - 1))
        trajectory.record(Step(number, len(pairs), t, s, after, before))
    assert trajectory.steps == len(pairs)
    return trajectory


@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_ten_frames_are_kept_evenly_and_the_last_one_is_the_sample(steps):
    pairs = [((steps - k) / steps, (steps - k - 1) / steps) for k in range(steps)]
    trajectory = recorded(pairs, 10)
    assert trajectory.times == pytest.approx([1 - k / 10 for k in range(11)])
    assert [float(state) for state in trajectory.states] == [-1, *(steps // 10 * k - 1 for k in range(1, 11))]


@pytest.mark.parametrize(
    ("frames", "states", "times"), [(2, [-1, 0, 2], [1, 0.5, 0]), (10, [-1, 0, 1, 2], [1, 0.5, 0, 0])]
)
def test_where_noise_is_left_at_time_0_the_last_state_is_that_of_the_last_step(frames, states, times):
    """EDM's last step leads from sigma_min, which is t = 0, to clean data; of few frames it takes the last."""
    trajectory = recorded([(1.0, 0.5), (0.5, 0.0), (0.0, 0.0)], frames)
    assert [float(state) for state in trajectory.states] == states
    assert trajectory.times == times


def test_no_frame_is_lost_where_the_last_step_to_clean_data_is_taken_before_time_0():
    """128 steps that end with one from 1/128 to clean data."""
    pairs = [((128 - k) / 128, (127 - k) / 128) for k in range(127)] + [(1 / 128, 1 / 128)]
    kept, clean = recorded(pairs, 10), recorded([*pairs[:-1], (1 / 128, 0.0)], 10)
    assert len(kept.states) == len(clean.states) == 11
    assert kept.times[:-1] == clean.times[:-1]
    assert float(kept.states[-1]) == 127


def test_what_is_given_is_there_from_the_start_and_was_not_predicted():
    for kind in ("masked", "uniform"):
        process, parameterization, network, sampler, _ = parts(kind)
        pipeline = Pipeline(
            Watched(network), parameterization, process, Tokens(3, Characters("abc")), sampler, [], (4,)
        )
        given, trajectory = torch.tensor([True, False, True, False]), Trajectory(frames=6, keep=5)
        constraint = GivenTokens(torch.tensor([2, 0, 1, 0]), given)
        pipeline.draw(5, trajectory=trajectory, constraint=constraint)
        assert all(torch.equal(state[:, given], torch.tensor([[2, 1]] * 5)) for state in trajectory.states)
        last = trajectory.confidence[-1]
        assert bool(last[:, given].isnan().all())
        assert bool(last[:, ~given].isfinite().all())


def test_only_the_first_samples_are_kept():
    assert recorded([(1.0, 0.0)], 1).states[0].shape == (1, 1)


NAN = torch.nan


def test_confidence_stays_with_a_token_until_it_is_predicted_again_or_masked():
    trajectory = Trajectory(frames=4, keep=1)
    states = [
        torch.tensor([[3, 3, 1]]),
        torch.tensor([[2, 3, 1]]),
        torch.tensor([[2, 0, 1]]),
        torch.tensor([[3, 0, 1]]),
    ]
    known = [torch.tensor([[0.5, NAN, NAN]]), torch.tensor([[NAN, 0.25, NAN]]), None]
    for number, confidence in enumerate(known):
        t, s = 1 - number / 4, 1 - (number + 1) / 4
        trajectory.record(Step(number, 3, t, s, states[number + 1], states[number]), confidence)
    expected = [[NAN, NAN, NAN], [0.5, NAN, NAN], [0.5, 0.25, NAN], [NAN, 0.25, NAN]]
    torch.testing.assert_close(torch.cat(trajectory.confidence), torch.tensor(expected), equal_nan=True)


def test_states_of_numbers_have_no_confidence_and_before_a_draw_there_are_no_steps():
    assert recorded([(1.0, 0.0)], 1).confidence == []
    assert (Trajectory(1, 1).confidence, Trajectory(1, 1).steps) == ([], 0)


class Watched(torch.nn.Module):
    """A network whose inputs and outputs are kept."""

    def __init__(self, inner):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.takes_time = True
        self.inner, self.seen = inner, []

    def forward(self, x, c_noise, condition=None):
        raw = self.inner(x, c_noise)
        self.seen.append((x, raw))
        return raw


def parts(kind):
    """Process, parameterization, network, sampler and transforms."""
    joint = Joint.random(3, 4)
    if kind == "uniform":
        process = Uniform(LogLinearSchedule(), 3)
        return (
            process,
            Logits(process),
            ExactUniform(joint, lambda c: process.schedule.survival(c / 1000)),
            Ancestral(process, Trailing(process.schedule), num_steps=6),
            [],
        )
    process = Absorbing(LogLinearSchedule(remaining=1e-3), 3)
    grid = Trailing(process.schedule)
    if kind == "scores":
        return process, LogScores(process), ExactMasked(joint), Tweedie(process, grid, num_steps=6), []
    sampler = (
        Remasking(process, grid, 6, 0.4, "rescale") if kind == "remasking" else Ancestral(process, grid, num_steps=6)
    )
    return (
        process,
        Substitution(process),
        ExactMasked(joint),
        sampler,
        [Nucleus(process, 0.5)] if kind == "cold" else [],
    )


@pytest.mark.parametrize("kind", ["masked", "cold", "remasking", "scores", "uniform"])
def test_the_confidence_is_the_probability_the_network_gave_and_recording_it_changes_nothing(kind):
    """Replayed from what the network saw and said, in plain loops."""
    process, parameterization, network, sampler, transforms = parts(kind)
    watched = Watched(network)
    codec = Tokens(3, Characters("abc"))
    pipeline = Pipeline(watched, parameterization, process, codec, sampler, transforms, (4,))
    plain = pipeline.draw(5, seed=1)
    watched.seen.clear()
    trajectory = Trajectory(frames=6, keep=5)
    drawn = pipeline.draw(5, seed=1, trajectory=trajectory)
    assert torch.equal(drawn.samples, plain.samples)
    assert drawn.evaluations == plain.evaluations == 6
    assert len(trajectory.states) == len(watched.seen) + 1

    expected = torch.full((5, 4), NAN)
    for (before, raw), after, found in zip(watched.seen, trajectory.states[1:], trajectory.confidence[1:], strict=True):
        probs = raw.softmax(-1)
        for b in range(5):
            for n in range(4):
                token = int(after[b, n])
                if token == 3:
                    expected[b, n] = NAN
                elif kind == "uniform" or int(before[b, n]) == 3:
                    expected[b, n] = probs[b, n, token]
        torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    assert not bool(expected.isnan().any())
