"""The convolution over neighbouring tokens against sums that are written out."""

import pytest
import torch

from diffusion_lab.networks.local_convolution import LocalConvolution
from pretended_device import There, moved, pretended_device


def convolution(size, width=3):
    generator = torch.Generator().manual_seed(size)
    layer = LocalConvolution(width, size)
    layer.weight.data = torch.randn(layer.weight.shape, generator=generator)
    return layer


def tokens(length, width=3, seed=0):
    return torch.randn(2, length, width, generator=torch.Generator().manual_seed(seed))


def summed(layer, row, allowed):
    """The sum at each position of a row, over the positions that `allowed` has for it, written out."""
    reach, weight = layer.reach, layer.weight[:, 0]
    result = row.clone()
    for place in range(row.shape[1]):
        for other in range(place - reach, place + reach + 1):
            if other in allowed(place):
                result[:, place] += weight[:, other - place + reach] * row[:, other]
    return result


@pytest.mark.parametrize("size", [1, 3, 7])
def test_it_adds_a_weighted_sum_of_the_neighbours(size):
    layer, x = convolution(size), tokens(5)
    torch.testing.assert_close(layer(x), summed(layer, x, lambda _: range(5)))


@pytest.mark.parametrize("size", [3, 5, 11])
@pytest.mark.parametrize("first", [0, 2, 4])
def test_in_blocks_it_sums_those_before_and_those_of_the_same_block(size, first):
    layer, x = convolution(size), tokens(8)
    count = (8 - first) // 2
    before = layer.before_blocks(x, first, count, 2)
    found = layer(x[:, first:], before)
    expected = summed(layer, x, lambda place: range(place // 2 * 2 + 2))
    torch.testing.assert_close(found, expected[:, first:])


@pytest.mark.parametrize("size", [3, 7])
def test_it_adds_as_much_as_there_is_at_first(size):
    torch.manual_seed(0)
    x = torch.randn(1, 50, 20_000)
    with torch.no_grad():
        added = LocalConvolution(20_000, size)(x) - x
    assert float(added[:, size:-size].std()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("size", [4, 0, -1])
def test_a_size_without_a_middle_is_refused(size):
    with pytest.raises(ValueError, match=r"network\.convolution must be an odd number"):
        LocalConvolution(3, size)


def test_the_positions_before_a_block_are_found_where_the_tokens_are():
    layer, x = convolution(5), tokens(6)
    with pretended_device() as device:
        moved(layer)
        there = x.to(device)
        found = layer(there[:, 2:], layer.before_blocks(there, 2, 2, 2))
    assert isinstance(found, There)
