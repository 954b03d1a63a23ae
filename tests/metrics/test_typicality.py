import pytest
import torch

from diffusion_lab.metrics.typicality import typicality_order


def normal(count, seed, size=3):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_samples_go_from_the_centre_of_real_items_outwards():
    real = normal(2000, 0)
    samples = torch.tensor([4.0, 0.0, 2.0, 9.0])[:, None] * torch.tensor([[0.6, 0.8, 0.0]])
    assert typicality_order(samples, real).tolist() == [1, 2, 0, 3]


def test_it_is_the_kth_nearest_real_item_that_counts():
    real = torch.tensor([[0.0], [10.0], [10.1], [10.2]])
    samples = torch.tensor([[0.0], [10.4]])
    assert typicality_order(samples, real, k=1).tolist() == [0, 1]
    assert typicality_order(samples, real, k=3).tolist() == [1, 0]


def test_equally_typical_samples_stay_in_their_order():
    assert typicality_order(torch.ones(40, 3), normal(20, 0)).tolist() == list(range(40))


@pytest.mark.parametrize(
    ("samples", "real", "k", "message"),
    [
        (normal(2, 0), normal(4, 1), 5, r"^typicality with k=5 needs at least 5 real items, got 4$"),
        (normal(2, 0), normal(4, 1), 0, r"^k must be at least 1, got 0$"),
        (normal(0, 0), normal(5, 1), 5, r"^typicality needs at least 1 generated items, got 0$"),
        (normal(2, 0) / 0, normal(5, 1), 5, r"^generated features must be finite"),
        (normal(2, 0), torch.ones(5, 3), 5, r"^all 5 real items have the same features"),
        (normal(2, 0), normal(1, 1), 1, r"^all 1 real items have the same features"),
    ],
)
def test_what_has_no_order_is_refused(samples, real, k, message):
    with pytest.raises(ValueError, match=message):
        typicality_order(samples, real, k)


def test_five_neighbours_count_where_nothing_is_said():
    """A denser group of five real items makes a sample typical, and one of four does not."""
    samples = torch.tensor([[10.0], [0.0]])
    real = torch.cat([torch.linspace(-0.5, 0.5, 8)[:, None], torch.full((5, 1), 10.0)])
    assert typicality_order(samples, real).tolist() == [0, 1]
    assert typicality_order(samples, real[:-1]).tolist() == [1, 0]
