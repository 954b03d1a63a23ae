import math

import pytest
import torch

from diffusion_lab.codecs import TokenEmbedding
from diffusion_lab.distributions import Normal
from diffusion_lab.figures import grid_sheet
from diffusion_lab.vocabulary import Characters

TOKENS = torch.tensor([[0, 1, 2, 3], [3, 3, 0, 1]])


def codec(dim=5, **arguments):
    torch.manual_seed(0)
    return TokenEmbedding(4, Characters("abcd"), dim, **arguments)


def test_tokens_become_vectors_and_come_back():
    made = codec()
    z = made.encode(TOKENS)
    assert torch.equal(z, made.vectors[TOKENS])
    assert torch.equal(made.decode(z), TOKENS)
    assert made.code_shape((4,)) == (4, 5)
    assert made.provides() == {"vocab_size": 4, "code_dim": 5}
    assert codec(noise=0.3).spread == 0.3
    assert "abcd" in made.show(grid_sheet(made.decode(z), "Samples"))


def test_codes_are_rounded_to_the_nearest_vector():
    made, z = codec(), 3 * torch.randn(50, 7, 5)
    nearest = (z[:, :, None] - made.vectors).square().sum(-1).argmin(-1)
    assert torch.equal(made.decode(z), nearest)


def test_vectors_that_are_near_are_told_apart_in_half_precision_too():
    made = codec()
    made.vectors.data[1] = made.vectors[0] + 0.01
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made.decode(made.encode(TOKENS)), TOKENS)
    half = codec().bfloat16()
    assert torch.equal(half.decode(half.encode(TOKENS)), TOKENS)


def test_each_of_many_vectors_of_one_number_is_read_as_itself():
    torch.manual_seed(0)
    made = TokenEmbedding(1000, Characters("".join(map(chr, range(1000)))), dim=1)
    tokens = torch.arange(1000)[None]
    assert torch.equal(made.decode(made.encode(tokens)), tokens)


def test_the_likelihood_is_that_of_a_head_that_is_tied_to_the_vectors():
    made = codec()
    made.bias.data.copy_(torch.tensor([0.3, -1.0, 0.0, 2.0]))
    z = torch.randn(2, 4, 5)
    found = made.log_likelihood(TOKENS, Normal(z, torch.full_like(z, 7.0))).detach()
    logits = [[[z[b, n] @ made.vectors[v] + made.bias[v] for v in range(4)] for n in range(4)] for b in range(2)]
    logs = torch.tensor([[[one.item() for one in place] for place in row] for row in logits]).log_softmax(-1)
    torch.testing.assert_close(found, torch.stack([logs[b, range(4), TOKENS[b]].sum() for b in range(2)]))


def test_the_likelihood_is_computed_in_single_precision_under_half_too():
    made = codec()
    codes = Normal(made.encode(TOKENS) + 0.1 * torch.randn(2, 4, 5), torch.zeros(2, 4, 5))
    full = made.log_likelihood(TOKENS, codes)
    with torch.autocast("cpu", torch.bfloat16):
        half = made.log_likelihood(TOKENS, codes)
    assert half.dtype == torch.float32
    assert torch.equal(half, full)


@pytest.mark.parametrize(
    ("wrong", "key"), [({"dim": 0}, "dim"), ({"noise": 0.0}, "noise"), ({"noise": math.inf}, "noise")]
)
def test_arguments_out_of_range_are_refused(wrong, key):
    with pytest.raises(ValueError, match=rf"codec\.{key}"):
        codec(**wrong)
