import pytest
import torch

from diffusion_lab.metrics.memorization import memorization


def normal(count, seed, size=4):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def train():
    return normal(500, 0)


def test_copies_are_found_with_their_originals(train):
    samples = torch.cat([train[[7, 400]], normal(2, 9) + 20])
    found = memorization(samples, normal(300, 1), train)
    assert found.samples.index[:2].tolist() == [7, 400]
    assert found.samples.distance[:2].tolist() == [0, 0]
    assert found.nearer == 0.5


def test_of_other_real_items_one_in_a_hundred_is_so_near(train):
    found = memorization(normal(3000, 2), normal(3000, 1), train)
    assert found.nearer == pytest.approx(0.01, abs=0.006)
    assert found.median_ratio == pytest.approx(1, abs=0.05)


def test_items_near_to_training_items_have_a_small_ratio(train):
    found = memorization(train + 1e-3 * normal(500, 3), normal(300, 1), train)
    assert found.nearer == 1
    assert found.median_ratio < 0.01


def test_the_threshold_is_the_first_percentile_of_held_out_items():
    train, held_out = torch.zeros(1, 1), torch.arange(1.0, 152.0)[:, None]
    found = memorization(torch.tensor([[1.0], [1.5], [2.0], [200.0]]), held_out, train)
    assert found.threshold == 2
    assert found.nearer == 0.5
    assert found.median_ratio == pytest.approx(1.75 / 76)


def test_numbers_for_a_file_and_a_line_for_people():
    found = memorization(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0]]), torch.zeros(3, 1))
    assert found.as_dict() == {"nearer": 0.5, "threshold": 2.0, "median_ratio": 1.0}
    assert found.summary() == (
        "50.0% of 2 samples are nearer to a training item than 99% of 1 held-out ones; ratio of median distances 1"
    )


def test_held_out_items_that_are_copies_have_no_ratio():
    found = memorization(torch.ones(2, 1), torch.zeros(2, 1), torch.zeros(3, 1))
    assert found.as_dict() == {"nearer": 0.0, "threshold": 0.0}
    assert found.summary().endswith("n/a")


def test_copies_are_found_also_where_some_held_out_items_are_copies(train):
    held_out = torch.cat([train[:10], normal(90, 1)])
    found = memorization(torch.cat([train[:3], normal(1, 2)]), held_out, train)
    assert found.threshold == 0
    assert found.nearer == 0.75


@pytest.mark.parametrize(("place", "name"), [(0, "generated"), (1, "held-out"), (2, "training")])
def test_bad_sets_are_refused_by_name(place, name):
    sets = [normal(5, seed) for seed in range(3)]
    with pytest.raises(ValueError, match=rf"^memorization needs at least 1 {name} items, got 0$"):
        memorization(*sets[:place], normal(0, 0), *sets[place + 1 :])
    with pytest.raises(ValueError, match=rf"^{name} features must be finite"):
        memorization(*sets[:place], normal(5, 0) * torch.nan, *sets[place + 1 :])
    with pytest.raises(ValueError, match="features must be of one size"):
        memorization(*sets[:place], normal(5, 0, size=3), *sets[place + 1 :])
