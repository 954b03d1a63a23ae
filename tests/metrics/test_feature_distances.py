import numpy as np
import pytest
import torch

from diffusion_lab.metrics import feature_distances
from diffusion_lab.metrics.feature_distances import (
    kth_nearest_distance,
    kth_neighbour_distance,
    nearest_items,
    squared_distance_blocks,
)

BLOCK = feature_distances._BLOCK


def normal(count, seed, size=5):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def brute_force(x, y):
    return np.linalg.norm(x.double().numpy()[:, None] - y.double().numpy()[None], axis=2)


@pytest.fixture(params=[1, 7, 50, 2**24], autouse=True)
def block(request, monkeypatch):
    """Blocks of one row, of several and of all rows."""
    monkeypatch.setattr(feature_distances, "_BLOCK", request.param * 10)


def test_the_nearest_item_is_the_nearest_by_brute_force():
    x, y = normal(23, 0), normal(10, 1)
    found = nearest_items(x, y)
    distances = brute_force(x, y)
    assert found.index.tolist() == distances.argmin(1).tolist()
    np.testing.assert_allclose(found.distance, distances.min(1), rtol=1e-6)


def test_a_block_takes_32_megabytes_at_most(monkeypatch):
    monkeypatch.setattr(feature_distances, "_BLOCK", BLOCK)
    x = normal(2100, 0, size=1)
    blocks = [squared.numel() * squared.element_size() for _, squared in squared_distance_blocks(x, x)]
    assert max(blocks) == 2**25 // (2100 * 8) * (2100 * 8)
    assert sum(blocks) == 2100 * 2100 * 8
    assert len(blocks) == 2


def test_a_copy_is_at_no_distance():
    y = 100 + normal(30, 0)
    found = nearest_items(y[[3, 8]], torch.cat([y, y, y]))
    assert (found.index % 30).tolist() == [3, 8]
    assert found.distance.tolist() == [0, 0]


@pytest.mark.parametrize("k", [1, 2, 9])
def test_the_kth_nearest_is_that_of_a_sorted_row(k):
    x, y = normal(23, 0), normal(10, 1)
    np.testing.assert_allclose(kth_nearest_distance(x, y, k), np.sort(brute_force(x, y), 1)[:, k - 1], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_an_item_is_no_neighbour_of_itself_but_its_copies_are(k):
    x = normal(20, 0)
    x = torch.cat([x, x[:3]])
    distances = brute_force(x, x)
    expected = [np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(distances)]
    found = kth_neighbour_distance(x, k)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found == 0).sum() == (6 if k == 1 else 0)
