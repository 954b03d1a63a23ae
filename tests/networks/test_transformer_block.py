"""What the block of the transformers is made of, by itself."""

import pytest
import torch
from torch import nn

from diffusion_lab.networks.transformer_block import Seen, TransformerBlock, plain_norm, weighted_norm
from network_checks import check_dropout


@pytest.mark.parametrize("make", [plain_norm, weighted_norm])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_a_norm_divides_by_the_deviation_to_whose_square_a_millionth_is_added(kind, make):
    norm = make(kind, 8)
    x = 1e-3 * torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    middle = x.mean(-1, keepdim=True) if kind == "layer" else 0
    expected = (x - middle) / ((x - middle).square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)
    assert bool(list(norm.parameters())) is (make is weighted_norm)


@pytest.mark.parametrize("part", ["attention", "perceptron"])
@pytest.mark.parametrize("told", [None, torch.ones(2, 4)])
def test_what_is_added_is_dropped_in_training(part, told):
    """Where the other part adds nothing, the rest of the tokens is seen to be dropped."""
    torch.manual_seed(0)
    block = TransformerBlock(32, 2, 64, 0.3, condition_width=None if told is None else 4).double()
    silent = block.mlp[2] if part == "attention" else block.attended
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    tokens = torch.randn(2, 100, 32).double()
    told = None if told is None else told.double()
    dropped, whole = (block.train(training)(tokens, told) - tokens for training in (True, False))
    check_dropout(dropped, whole, 0.3)


def test_of_what_was_seen_no_positions_are_nothing():
    key = torch.randn(3, 2, 4, 8)
    seen = Seen(key, 2 * key, {0: torch.randn(3, 4, 16)})
    assert seen.count == 4
    assert Seen().count == seen.part(slice(None), 0).count == 0
    assert Seen().part(slice(None), 2).key is None
    part = seen.part(torch.tensor([2, 0]), 3)
    assert torch.equal(part.key, key[[2, 0], :, :3])
    assert torch.equal(part.value, 2 * key[[2, 0], :, :3])
    assert torch.equal(part.inputs[0], seen.inputs[0][[2, 0], :3])


def test_a_copy_of_what_was_seen_has_memory_of_its_own():
    seen = Seen(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4), {1: torch.ones(1, 2, 4)})
    copy = seen.copy()
    for tensor in (seen.key, seen.value, seen.inputs[1]):
        tensor.zero_()
    assert all(bool((tensor == 1).all()) for tensor in (copy.key, copy.value, copy.inputs[1]))
    assert Seen().copy().key is None
