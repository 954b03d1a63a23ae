import math

import pytest
import torch
from torch import nn

from diffusion_lab.config.tree import read_option
from diffusion_lab.networks import DiT
from diffusion_lab.networks.layers import from_patches, to_patches
from diffusion_lab.networks.transformer_block import TransformerBlock
from network_checks import (
    awaken,
    bfloat16_by_default,
    check_it_starts_asleep_and_wakes,
    check_output_size,
    check_samples_are_apart,
)
from pretended_device import There, moved, pretended_device

#: The overrides that make it small, for the tests of all options together.
SMALL = ("network.width=16", "network.depth=1", "network.heads=2")


def small(image_size=16, in_channels=1, out_channels=1, **arguments):
    torch.manual_seed(0)
    return DiT(in_channels, out_channels, image_size, **{"width": 16, "depth": 2, "heads": 2} | arguments)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "patch"), [(28, 4), (28, 2), (16, 1), (32, 8), (8, 8)])
def test_the_output_has_the_size_of_the_input(channels, size, patch):
    check_output_size(awaken(small(size, channels, 2 * channels, patch_size=patch)), channels, size)


def test_at_first_the_output_is_zero_and_every_weight_is_trained():
    """adaLN-Zero: Peebles & Xie 2023, section 3.2."""
    check_it_starts_asleep_and_wakes(lambda: small(labels=True, num_classes=3))
    tokens = torch.randn(2, 16, 16)
    assert torch.equal(small().blocks[0](tokens, torch.randn(2, 16)), tokens)


def test_weights_start_as_in_the_authors_code():
    """Time and label with a deviation of 0.02, other matrices as Glorot & Bengio 2010 have it, and no biases."""
    network = small(width=64, labels=True, num_classes=99)
    block = network.blocks[0]
    for weight in (network.label_embedding.weight, network.time_embedding[0].weight, network.time_embedding[2].weight):
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    for layer in (network.patches, block.query_key_value, block.attended, block.mlp[0], block.mlp[2]):
        outputs, inputs = layer.weight.shape
        assert float(layer.weight.detach().std()) == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.05)
    assert not any(bool(layer.bias.any()) for layer in network.modules() if isinstance(layer, nn.Linear))


def test_a_patch_goes_out_where_it_came_in():
    """With the blocks asleep and the last layer a copy of its token, a bright patch is bright in the output alone."""
    network = small(patch_size=4, width=16)
    with torch.no_grad():
        network.patches.weight.copy_(torch.eye(16))
        network.out.weight.copy_(torch.eye(16))
        network.position.forward = lambda position: torch.zeros(len(position), 8)
    x = torch.randn(1, 1, 16, 16)
    out = network(x, torch.tensor([3.0]))
    for row in range(0, 16, 4):
        for column in range(0, 16, 4):
            patch = x[0, 0, row : row + 4, column : column + 4]
            found = out[0, 0, row : row + 4, column : column + 4]
            torch.testing.assert_close(found, nn.functional.layer_norm(patch, (4, 4)), rtol=1e-4, atol=1e-4)


def test_each_sample_depends_on_its_own_image_time_and_label():
    check_samples_are_apart(awaken(small(labels=True, num_classes=3)), 16, labels=True)


def test_the_far_corner_reaches_every_pixel():
    network, x = awaken(small()), torch.zeros(1, 1, 16, 16, requires_grad=True)
    network(x, torch.tensor([5.0]))[0, 0, 0, 0].backward()
    assert x.grad[0, 0, -1, -1] != 0


def test_its_positions_differ_from_each_other():
    positions = small()._positions(torch.zeros(1))
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.1


POSITIONS = ["sinusoidal", "sinusoidal_2d", "rotary"]


@pytest.mark.parametrize("positions", POSITIONS)
def test_positions_are_added_to_the_patches_or_turn_what_attention_sees(positions):
    """With the blocks asleep, equal patches stay equal but for what is added; awake, each sees where the others are."""
    network = small(positions=positions)
    nn.init.normal_(network.out.weight)
    patches = to_patches(network(torch.ones(1, 1, 16, 16), torch.tensor([5.0])), 4)
    alike = torch.allclose(patches, patches[:, :1].expand_as(patches), atol=1e-5)
    assert alike is (positions == "rotary")
    awaken(network, std=0.5)
    x = torch.randn(1, 16, 16)
    one, other = (
        to_patches(network(from_patches(x[:, order], 4), torch.tensor([5.0])), 4)
        for order in (list(range(16)), [0, 2, 1, *range(3, 16)])
    )
    assert (one - other)[:, 0].abs().max() > 1e-3


@pytest.mark.parametrize("positions", POSITIONS)
def test_positions_are_made_where_the_image_is(positions):
    network = small(positions=positions)
    with pretended_device() as device:
        out = moved(network)(torch.zeros(1, 1, 16, 16, device=device), torch.zeros(1, device=device))
    assert isinstance(out, There)


@pytest.mark.parametrize("positions", ["sinusoidal", "sinusoidal_2d"])
def test_sinusoidal_positions_are_waves_of_the_row_and_of_the_column(positions):
    authors = positions == "sinusoidal_2d"
    frequencies = [10_000 ** (-k / (4 if authors else 3)) for k in range(4)]
    of_one = [[wave(n * w) for wave in (math.sin, math.cos) for w in frequencies] for n in range(4)]
    expected = torch.tensor(
        [of_one[c] + of_one[r] if authors else of_one[r] + of_one[c] for r in range(4) for c in range(4)]
    )
    network, image = small(positions=positions), torch.zeros(1)
    torch.testing.assert_close(network._positions(image), expected, rtol=0, atol=1e-5)
    with bfloat16_by_default():
        torch.testing.assert_close(network._positions(image), expected, rtol=0, atol=1e-5)
    assert network._positions(image.bfloat16()).dtype == torch.bfloat16


def test_rotary_positions_are_angles_of_the_row_and_of_the_column():
    """Waves of 2π patches and, in a head of 8, of ten times as many."""
    angles = torch.tensor([[r, r / 10, c, c / 10] for r in range(4) for c in range(4)])
    expected = torch.stack([angles.cos(), angles.sin()])
    network, image = small(positions="rotary"), torch.zeros(1)
    torch.testing.assert_close(network._turn(8, image), expected, rtol=0, atol=1e-5)
    with bfloat16_by_default():
        torch.testing.assert_close(network._turn(8, image), expected, rtol=0, atol=1e-5)
    assert network._turn(8, image.bfloat16()).dtype == torch.bfloat16


def test_a_block_is_that_of_the_library_with_its_weights():
    """nn.MultiheadAttention with the same weights, and the modulation by hand."""
    torch.manual_seed(0)
    block = TransformerBlock(16, 4, 32, 0.0, condition_width=16)
    library = nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        library.in_proj_weight.copy_(block.query_key_value.weight)
        library.in_proj_bias.copy_(block.query_key_value.bias)
        library.out_proj.load_state_dict(block.attended.state_dict())
    tokens, told = torch.randn(2, 5, 16), torch.randn(2, 16)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = block.modulation(told)[:, None].chunk(6, -1)
    normed = nn.functional.layer_norm(tokens, (16,), eps=1e-6) * (1 + scale_1) + shift_1
    expected = tokens + gate_1 * library(normed, normed, normed)[0]
    normed = nn.functional.layer_norm(expected, (16,), eps=1e-6) * (1 + scale_2) + shift_2
    expected = expected + gate_2 * block.mlp(normed)
    torch.testing.assert_close(block(tokens, told), expected, rtol=1e-4, atol=1e-5)


MODERN = {"norm": "rms", "mlp": "swiglu", "positions": "rotary", "width": 16, "depth": 2, "heads": 2}


def test_with_the_blocks_of_today_it_starts_asleep_tells_samples_apart_and_has_as_many_parameters():
    check_it_starts_asleep_and_wakes(lambda: small(labels=True, num_classes=3, **MODERN))
    check_samples_are_apart(awaken(small(labels=True, num_classes=3, **MODERN)), 16, labels=True)
    check_output_size(awaken(small(28, 3, 6, **MODERN)), 3, 28)
    plain, modern = (
        sum(p.numel() for p in small(width=96, heads=3, **more).parameters())
        for more in ({}, {key: MODERN[key] for key in ("norm", "mlp", "positions")})
    )
    assert modern == pytest.approx(plain, rel=0.002)


def test_a_block_of_today_is_its_formula():
    torch.manual_seed(0)
    block = TransformerBlock(8, 1, 12, 0.0, "rms", "swiglu", condition_width=8)
    tokens, told = torch.randn(2, 5, 8), torch.randn(2, 8)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = block.modulation(told)[:, None].chunk(6, -1)

    def normed(x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    angles = torch.rand(5, 4) * 6
    pairs = torch.polar(torch.ones(5, 4), angles)  # a rotation is a product of complex numbers
    query, key, value = block.query_key_value(normed(tokens) * (1 + scale_1) + shift_1).chunk(3, -1)
    query, key = (torch.complex(*x.contiguous().chunk(2, -1)) * pairs for x in (query, key))
    scores = (query @ key.conj().transpose(1, 2)).real / 8**0.5
    expected = tokens + gate_1 * block.attended(scores.softmax(-1) @ value)
    gate, hidden = block.mlp.gate_and_hidden(normed(expected) * (1 + scale_2) + shift_2).chunk(2, -1)
    assert hidden.shape[-1] == 8  # two thirds of 12
    expected = expected + gate_2 * block.mlp.out(gate * torch.sigmoid(gate) * hidden)
    found = block(tokens, told, torch.stack([angles.cos(), angles.sin()]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_by_rotary_positions_attention_sees_how_far_apart_patches_are_and_nothing_else():
    """The same image two patches further: the scores among the patches that show it stay the same."""
    network, side = small(24, **MODERN), 6
    cos, sin = network._turn(8, torch.zeros(1, dtype=torch.float64))
    turn = torch.complex(cos, sin).reshape(side, side, 4)
    query, key = torch.randn(2, 4, dtype=torch.complex128)

    def score(at, other):
        return float(((query * turn[at]) * (key * turn[other]).conj()).sum().real)

    assert score((1, 2), (0, 0)) == pytest.approx(score((5, 4), (4, 2)), abs=1e-5)
    others = [score((row, column), (0, 0)) for row in range(side) for column in range(side)]
    assert min(abs(a - b) for n, a in enumerate(others) for b in others[:n]) > 1e-5


def test_rotary_positions_need_heads_of_a_multiple_of_4():
    with pytest.raises(ValueError, match=r"positions=rotary needs network\.width / network\.heads .* 4, got 6"):
        small(width=12, heads=2, positions="rotary")


L, XL = {"width": 1024, "depth": 24, "heads": 16}, {"width": 1152, "depth": 28, "heads": 16}


@pytest.mark.parametrize(("size", "millions"), [("dit_s", 33), ("dit_b", 130), (L, 458), (XL, 675)])
def test_the_named_sizes_have_the_parameters_of_the_paper(size, millions):
    """Peebles & Xie 2023, tables 1 and 4: in 4 channels at 32×32 with patches of 2, 8 channels out, 1,000 classes."""
    node = read_option("network", size) if isinstance(size, str) else size
    node = {key: value for key, value in node.items() if key != "_target_"}
    with torch.device("meta"):
        network = DiT(4, 8, 32, num_classes=1000, **node | {"patch_size": 2, "labels": True})
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == pytest.approx(millions, abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 3}, r"network\.patch_size must divide data\.image_size=16, got 3"),
        ({"patch_size": 0}, r"network\.patch_size must divide"),
        ({"width": 18}, r"network\.width must be a multiple of 4"),
        ({"heads": 3}, r"network\.width must be a multiple of 4 and of network\.heads=3"),
        ({"depth": 0}, r"network\.depth must be 1 or more"),
        ({"width": 4, "heads": 1}, r"network\.width must be .* at least 8, got 4"),
        ({"heads": 0}, r"network\.width must be a multiple of 4 and of network\.heads=0"),
        ({"mlp_ratio": 0.0}, r"must be at least 1 and finite, got network\.mlp_ratio=0\.0"),
        ({"mlp_ratio": 0.06}, r"must be at least 1 and finite"),
        ({"mlp_ratio": math.inf}, r"must be at least 1 and finite, got network\.mlp_ratio=inf"),
        ({"dropout": 1.0}, r"network\.dropout must be at least 0 and below 1"),
        ({"labels": True}, r"network\.labels=true needs data with labels"),
        ({"condition_dropout": 1.0}, r"network\.condition_dropout must be at least 0 and below 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_without_labels_it_takes_none():
    with pytest.raises(ValueError, match="takes labels only with"):
        small()(torch.zeros(1, 1, 16, 16), torch.zeros(1), torch.zeros(1, dtype=torch.int64))


def test_the_smallest_sizes_that_are_said_to_fit_do():
    network = small(8, width=8, depth=1, heads=1, mlp_ratio=1 / 8, patch_size=8)
    assert network(torch.zeros(1, 1, 8, 8), torch.zeros(1)).shape == (1, 1, 8, 8)
