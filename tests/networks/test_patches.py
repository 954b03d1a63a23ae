"""Images cut into patches and put together again, and attention over heads, against loops."""

import torch

from diffusion_lab.networks.layers import attend, from_patches, split_heads, to_patches


def test_patches_are_the_squares_of_an_image_row_by_row():
    x = torch.randn(2, 3, 6, 6)
    patches = to_patches(x, 2)
    assert patches.shape == (2, 9, 12)
    for number in range(9):
        row, column = divmod(number, 3)
        square = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(patches[:, number], square.flatten(1))
    assert torch.equal(from_patches(patches, 2), x)


def test_each_head_attends_by_itself():
    projected = torch.randn(2, 5, 3 * 8, dtype=torch.float64)
    seen = attend(*split_heads(projected, 2))
    query, key, value = projected.chunk(3, dim=-1)
    for head in (slice(0, 4), slice(4, 8)):
        weights = (query[..., head] @ key[..., head].mT / 2).softmax(-1)  # 2 = √4
        torch.testing.assert_close(seen[..., head], weights @ value[..., head])
