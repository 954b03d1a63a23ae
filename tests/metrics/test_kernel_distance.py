import statistics

import pytest
import torch
from other_device import elsewhere

from diffusion_lab.metrics.kernel_distance import kernel_distance
from oracles import gaussian_distances

MEAN, OTHER_MEAN = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.5, 0.0, 0.5])
SCALE, OTHER_SCALE = torch.diag(torch.tensor([1.0, 2.0, 0.5])), torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0.5, 0.7]])


def normal(count, seed, size=3):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def sets(count, seed, other_count=None):
    return (
        normal(count, 2 * seed) @ SCALE.T + MEAN,
        normal(other_count or count, 2 * seed + 1) @ OTHER_SCALE.T + OTHER_MEAN,
    )


def expected():
    return gaussian_distances.cubic_kernel_distance(
        *(part.double().numpy() for part in (MEAN, SCALE @ SCALE.T, OTHER_MEAN, OTHER_SCALE @ OTHER_SCALE.T))
    )


def test_it_is_the_distance_between_two_gaussians():
    """Within three standard errors, which are less than a tenth of it."""
    found = kernel_distance(*sets(1500, 0), subsets=50)
    assert found.subset_size == 300
    assert found.error < expected() / 10
    assert found.value == pytest.approx(expected(), abs=3 * found.error)


def test_it_is_unbiased_and_its_error_is_its_standard_deviation():
    """Over independent sets, and for the sets' numbers and the subsets' too: the closed form is known."""
    found = [kernel_distance(*sets(60, seed), seed=seed, subsets=40) for seed in range(80)]
    values = [one.value for one in found]
    deviation = statistics.stdev(values)
    assert statistics.fmean(values) == pytest.approx(expected(), abs=3 * deviation / 80**0.5)
    assert 0.75 < statistics.fmean(one.error for one in found) / deviation < 1.35


@pytest.mark.parametrize(("num_real", "factor"), [(60, 4), (600, 6)])
def test_two_sets_of_one_distribution_are_near_zero_and_the_error_is_not_too_small(num_real, factor):
    found = [kernel_distance(normal(num_real, 2 * seed), normal(60, 2 * seed + 1)) for seed in range(40)]
    deviation = statistics.stdev(one.value for one in found)
    assert min(one.value for one in found) < 0
    assert abs(statistics.fmean(one.value for one in found)) < 3 * deviation / 40**0.5
    assert 0.9 < statistics.fmean(one.error for one in found) / deviation < factor


@pytest.mark.parametrize(
    ("count", "other_count", "size"), [(50, 50, 10), (59, 300, 11), (300, 59, 11), (10, 10, 2), (6000, 5500, 1000)]
)
def test_a_subset_has_a_fifth_of_the_smaller_set_and_at_most_1000(count, other_count, size):
    assert kernel_distance(*sets(count, 0, other_count), subsets=2).subset_size == size


def test_the_same_seed_gives_the_same_digits_and_torch_s_generator_stays_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = kernel_distance(*sets(100, 0), seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert kernel_distance(*sets(100, 0), seed=3) == first
    assert kernel_distance(*sets(100, 0), seed=4) != first


def test_order_and_which_set_is_which_matter_less_than_the_error():
    real, generated = sets(500, 0)
    first = kernel_distance(real, generated)
    for again in (kernel_distance(generated, real), kernel_distance(real.flip(0), generated.roll(9, 0))):
        assert again.value == pytest.approx(first.value, abs=first.error)


def test_it_is_computed_on_this_process_alone_in_a_run_of_several(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert kernel_distance(*sets(20, 0)).value > 0


def test_features_may_lie_on_a_device_without_float64():
    assert kernel_distance(*elsewhere(*sets(20, 0))) == kernel_distance(*sets(20, 0))


def test_sets_that_are_too_small_for_subsets_are_refused_by_name():
    real, generated = sets(10, 0)
    with pytest.raises(ValueError, match=r"^the kernel distance \(KID\) needs at least 10 generated items, got 9$"):
        kernel_distance(real, generated[:9])
    with pytest.raises(ValueError, match=r"^the kernel distance \(KID\) needs at least 10 real items, got 9$"):
        kernel_distance(real[:9], generated)
    with pytest.raises(ValueError, match=r"^subsets must be at least 2, got 1$"):
        kernel_distance(real, generated, subsets=1)


def test_constant_and_not_finite_features_are_refused():
    real, generated = sets(20, 0)
    with pytest.raises(ValueError, match="all 20 real items have the same features"):
        kernel_distance(torch.ones(20, 3), generated)
    with pytest.raises(ValueError, match="generated features must be finite: 20 of 20 items"):
        kernel_distance(real, generated / 0)


def test_a_hundred_subsets_are_drawn_with_the_seed_0_where_nothing_is_said():
    assert kernel_distance(*sets(40, 0)) == kernel_distance(*sets(40, 0), seed=0, subsets=100)
    assert kernel_distance(*sets(40, 0)) != kernel_distance(*sets(40, 0), subsets=101)
    assert kernel_distance(*sets(40, 0)) != kernel_distance(*sets(40, 0), seed=1)


def by_definition(real, generated, size, seed, subsets):
    """Mean and standard deviation over subsets, by sums over pairs of different items."""
    generator = torch.Generator().manual_seed(seed)

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    values = []
    for _ in range(subsets):
        x, y = (part[torch.randperm(len(part), generator=generator)[:size]].double() for part in (real, generated))
        within = sum(float(kernel(one, one).fill_diagonal_(0).sum()) for one in (x, y)) / (size * (size - 1))
        values.append(within - 2 * float(kernel(x, y).mean()))
    return statistics.fmean(values), statistics.pstdev(values)


@pytest.mark.parametrize("subsets", [2, 15])
def test_it_is_that_of_its_definition_over_subsets(subsets):
    real, generated = sets(54, 0, other_count=70)
    found = kernel_distance(real, generated, seed=7, subsets=subsets)
    mean, spread = by_definition(real, generated, 10, 7, subsets)
    assert found.value == pytest.approx(mean, rel=1e-9)
    assert found.error == pytest.approx(spread * (10 / (54 - 10) + 1 / subsets) ** 0.5, rel=1e-9)
