"""Loss-aware times, compared with the algorithm written out one sample after another, and by enumeration."""

import math
from collections import deque

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.objectives import ImportanceTimes, UniformTimes
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, FlowSchedule

STEPS = 20
DISCRETE, CONTINUOUS = Gaussian(CosineSchedule(STEPS)), Gaussian(FlowSchedule())
ROWS = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
#: As those of the bound: large where there is little noise.
PROFILE = 1 / ROWS**2 + 0.1


def profile(t):
    return 1 / t**2 + 0.1


def taught(process, buckets=None, history=2, losses=profile, **arguments):
    """A sampler that has seen `losses`, a function of time, at the middle of each step of 20, or of its parts."""
    times = ImportanceTimes(process, 64, buckets=buckets, history=history, **arguments)
    t = ROWS if process is DISCRETE else torch.linspace(0.005, 0.995, 100, dtype=torch.float64)
    for _ in range(history):
        times.update(t, losses(t))
    return times


def test_until_each_bucket_has_its_history_times_are_uniform():
    times = ImportanceTimes(DISCRETE, 64, history=2)
    noise, uniform = Noise(torch.arange(64), 0), UniformTimes(DISCRETE, 64)
    for last in (ROWS, ROWS[1:]):
        times.update(last, profile(last))
        assert torch.equal(times(noise), uniform(noise))
        assert times.weight(ROWS).tolist() == [1] * STEPS
    times.update(ROWS[:1], profile(ROWS[:1]))
    assert not torch.equal(times(noise), uniform(noise))


def test_there_is_a_bucket_for_each_step_and_100_in_continuous_time():
    assert [len(ImportanceTimes(process, 64).probabilities) for process in (DISCRETE, CONTINUOUS)] == [STEPS, 100]


def test_in_continuous_time_a_bucket_holds_the_times_up_to_its_end():
    """Bucket k of K is (k/K, (k + 1)/K], and time 0 is of the first."""
    times = ImportanceTimes(CONTINUOUS, 64, buckets=4, history=1, uniform_share=0.2)
    ends = torch.arange(1, 5, dtype=torch.float64) / 4
    times.update(ends, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    expected = [0.8 * size / 10 + 0.05 for size in (1, 2, 3, 4)]
    assert times.probabilities.tolist() == pytest.approx(expected, rel=1e-12)
    t = torch.cat([torch.zeros(1, dtype=torch.float64), ends, torch.nextafter(ends[:3], ends[1:])])
    weights = [1 / (4 * expected[bucket]) for bucket in (0, 0, 1, 2, 3, 1, 2, 3)]
    assert times.weight(t).tolist() == pytest.approx(weights, rel=1e-12)


@pytest.mark.parametrize("arguments", [{"buckets": 1}, {"buckets": 4, "uniform_share": 1.0}])
def test_of_one_bucket_and_of_uniform_times_alone_all_weights_are_1(arguments):
    times = taught(CONTINUOUS, **arguments)
    assert times.weight(ROWS).tolist() == pytest.approx([1] * STEPS)


def test_no_time_is_above_one_though_the_probabilities_sum_up_to_less_by_rounding():
    largest = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    short = 0
    for buckets in range(2, 101):
        times = taught(CONTINUOUS, buckets=buckets, history=1, losses=torch.ones_like)
        short += bool(times.probabilities.cumsum(0)[-1] < largest)
        assert times.quantile(largest) <= 1
    assert short > 0


@pytest.mark.parametrize("buckets", [None, 4])
def test_probabilities_are_those_of_the_algorithm_written_out(buckets):
    """Nichol & Dhariwal 2021, eq. 18, one sample after another; some batches have more than fit into a history."""
    times = ImportanceTimes(DISCRETE, 8, buckets=buckets, history=3, uniform_share=0.01)
    count = buckets or STEPS
    remembered = [deque(maxlen=3) for _ in range(count)]
    generator = torch.Generator().manual_seed(0)
    for size in (5, 60, 1, 200, 7, 33):
        rows = torch.randint(1, STEPS + 1, (size,), generator=generator)
        losses = torch.rand(size, generator=generator, dtype=torch.float64)
        times.update(rows.double() / STEPS, losses)
        for row, loss in zip(rows.tolist(), losses.tolist(), strict=True):
            remembered[(row - 1) * count // STEPS].append(loss)
        sizes = [math.sqrt(sum(loss**2 for loss in losses) / 3) for losses in remembered]
        expected = [0.99 * size / sum(sizes) + 0.01 / count for size in sizes]
        if all(len(losses) == 3 for losses in remembered):
            assert times.probabilities.tolist() == pytest.approx(expected, rel=1e-12)
            weights = times.weight(ROWS).tolist()
            by_hand = [1 / (count * expected[n * count // STEPS]) for n in range(STEPS)]
            assert weights == pytest.approx(by_hand, rel=1e-12)
        else:
            assert times.probabilities.tolist() == pytest.approx([1 / count] * count)
    assert all(len(losses) == 3 for losses in remembered)


@pytest.mark.parametrize("buckets", [None, 4])
def test_probabilities_tend_to_the_root_of_the_second_moment(buckets):
    """Losses are L · x with x uniform over [0, 2), so that E[L² x²] = 4/3 L²."""
    history = 2000
    times = ImportanceTimes(DISCRETE, 64, buckets=buckets, history=history, uniform_share=1e-9)
    noise = torch.rand(history, STEPS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times.update(ROWS.repeat(history), (2 * noise * PROFILE).flatten())
    moments = (PROFILE**2).reshape(len(times.probabilities), -1).mean(1).sqrt() if buckets else PROFILE
    torch.testing.assert_close(times.probabilities, moments / moments.sum(), rtol=0.03, atol=0)


@pytest.mark.parametrize("process", [DISCRETE, CONTINUOUS], ids=["steps", "continuous"])
@pytest.mark.parametrize("buckets", [None, 4])
@pytest.mark.parametrize("losses", [profile, lambda t: 0 * t + 3.0, lambda t: (t > 0.5).double()])
def test_the_weighted_mean_is_that_of_uniform_times(process, buckets, losses):
    """By enumeration of the shares of the distribution, for another function than what was learned from."""
    times = taught(process, buckets, losses=losses, uniform_share=0.05)
    shares = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    t = times.quantile(shares)
    if process is DISCRETE:
        t = (t * STEPS).floor().add(1) / STEPS
    weight = times.weight(t)
    assert float(weight.mean()) == pytest.approx(1, abs=2e-3)
    mean = float(ROWS.square().mean()) if process is DISCRETE else 1 / 3
    assert float((weight * t.square()).mean()) == pytest.approx(mean, abs=2e-3)
    drawn = times(Noise(torch.arange(200_000), 0))
    assert float((times.weight(drawn) * drawn.square()).mean()) == pytest.approx(mean, abs=0.02)


def test_the_weighted_loss_varies_less_than_that_of_uniform_times():
    times = taught(DISCRETE)
    mean, p, weight = PROFILE.mean(), times.probabilities, times.weight(ROWS)
    assert float((p * weight * PROFILE).sum()) == pytest.approx(float(mean), rel=1e-12)
    variance = float((p * (weight * PROFILE).square()).sum() - mean**2)
    assert variance < 1e-3 * float(PROFILE.square().mean() - mean**2)


@pytest.mark.parametrize("process", [DISCRETE, CONTINUOUS], ids=["steps", "continuous"])
@pytest.mark.parametrize("stratified", [False, True])
def test_each_bucket_is_drawn_as_often_as_its_probability_says(process, stratified):
    times = taught(process, 4, stratified=stratified)
    drawn = times(Noise(torch.arange(20_000), 0, "time"))
    bucket = (drawn * 4 - 1e-9).ceil().long() - 1
    shares = torch.bincount(bucket, minlength=4) / len(drawn)
    torch.testing.assert_close(shares.double(), times.probabilities, rtol=0, atol=1e-2)
    within = drawn[bucket == 0] * 4 - (0.1 if process is DISCRETE else 0)  # the mean of rows 1/5, …, 5/5 is 0.6
    assert float(within.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("stratified", [False, True])
def test_times_of_a_rank_are_those_of_its_part_of_the_batch(stratified):
    times = taught(CONTINUOUS, stratified=stratified)
    whole = times(Noise(torch.arange(64), 0, "batch"))
    assert torch.equal(times(Noise(torch.arange(32, 64), 0, "batch")), whole[32:])


@pytest.mark.parametrize("process", [DISCRETE, CONTINUOUS], ids=["steps", "continuous"])
def test_validation_has_uniform_times_whatever_was_learned(process):
    times, noise = taught(process, 4), Noise(torch.arange(64), 0, "validation")
    assert torch.equal(times.in_validation(noise), UniformTimes(process, 64)(noise))


@pytest.mark.parametrize("cut", [1, 17, 40])
def test_two_batches_teach_what_one_of_both_does(cut):
    generator = torch.Generator().manual_seed(1)
    t = torch.randint(1, STEPS + 1, (100,), generator=generator).double() / STEPS
    loss = torch.rand(100, generator=generator, dtype=torch.float64)
    whole, parts = (ImportanceTimes(DISCRETE, 64, buckets=5, history=4) for _ in range(2))
    whole.update(t, loss)
    for part in (slice(cut), slice(cut, None)):
        parts.update(t[part], loss[part])
    assert all(torch.equal(whole.state_dict()[name], value) for name, value in parts.state_dict().items())


def test_what_was_learned_is_saved_and_restored_exactly():
    before, after = taught(CONTINUOUS, 10), ImportanceTimes(CONTINUOUS, 64, buckets=10, history=2)
    after.load_state_dict(before.state_dict())
    more = torch.tensor([0.05, 0.33], dtype=torch.float64)
    noise = Noise(torch.arange(1000), 0)
    for _ in range(2):
        t = before(noise)
        assert torch.equal(after(noise), t)
        assert torch.equal(after.weight(t), before.weight(t))
        for times in (before, after):
            times.update(more, 50 * more)


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ({}, "losses"),
        ({"losses": torch.zeros(10, 2, dtype=torch.float64)}, "counts"),
        ({"losses": torch.zeros(10, 3, dtype=torch.float64)}, "losses"),
        ({"losses": torch.zeros(10, 2)}, "losses"),
    ],
)
def test_a_state_of_another_sampler_is_refused(state, name):
    times = ImportanceTimes(CONTINUOUS, 64, buckets=10, history=2)
    with pytest.raises(ValueError, match=rf"a state of 10 buckets with 2 losses each, and {name} is none of it"):
        times.load_state_dict(state)
    with pytest.raises(ValueError, match="UniformTimes has no state, and there is one of losses, counts"):
        UniformTimes(CONTINUOUS, 64).load_state_dict(times.state_dict())


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_losses_that_say_nothing_leave_times_uniform(value):
    times = taught(DISCRETE, losses=lambda t: 0 * t + value)
    assert times.probabilities.tolist() == pytest.approx([1 / STEPS] * STEPS)
    drawn = times(Noise(torch.arange(2000), 0))
    assert set((drawn * STEPS).round().tolist()) == set(range(1, STEPS + 1))
    assert times.weight(drawn).tolist() == pytest.approx([1] * 2000)


@pytest.mark.parametrize(
    ("arguments", "fewest", "most"),
    [({}, 150, 250), ({"stratified": True}, 79, 130), ({"buckets": 20}, 2, 4)],
)
def test_how_many_batches_it_takes_until_times_are_not_uniform(arguments, fewest, most):
    """Of 128 samples, with 1000 steps; the docstring says so."""
    times, batches = ImportanceTimes(Gaussian(CosineSchedule(1000)), 128, **arguments), 0
    noise = Noise(torch.arange(128), 0)
    uniform = UniformTimes(times.process, 128, times.stratified)
    while torch.equal(times(noise), uniform(noise)):
        t = times(noise.at(batches))
        times.update(t, 1 / t)
        batches += 1
        assert batches <= most
    assert batches >= fewest


@pytest.mark.parametrize(
    ("process", "arguments", "said"),
    [
        (DISCRETE, {"buckets": 3}, r"time_sampling\.buckets must be at least 1 and divide schedule\.steps=20, got 3"),
        (DISCRETE, {"buckets": 40}, r"time_sampling\.buckets must be at least 1 and divide schedule\.steps=20, got 40"),
        (CONTINUOUS, {"buckets": 0}, r"time_sampling\.buckets must be at least 1, got 0"),
        (CONTINUOUS, {"history": 0}, r"time_sampling\.history must be at least 1, got 0"),
        (CONTINUOUS, {"uniform_share": 0.0}, r"time_sampling\.uniform_share must be above 0 and at most 1, got 0"),
        (CONTINUOUS, {"uniform_share": 1.5}, r"time_sampling\.uniform_share must be above 0 and at most 1, got 1\.5"),
    ],
)
def test_arguments_out_of_range_are_refused(process, arguments, said):
    with pytest.raises(ValueError, match=said):
        ImportanceTimes(process, 64, **arguments)
