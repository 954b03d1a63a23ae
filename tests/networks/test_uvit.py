import math

import pytest
import torch
from torch import nn

from diffusion_lab.networks.uvit import Block, UViT
from network_checks import awaken, check_it_starts_asleep_and_wakes, check_output_size, check_samples_are_apart

#: The overrides that make it small, for the tests of all options together.
SMALL = ("network.width=16", "network.depth=3", "network.heads=2")


def small(image_size=16, in_channels=1, out_channels=1, **arguments):
    torch.manual_seed(0)
    return UViT(in_channels, out_channels, image_size, **{"width": 16, "depth": 5, "heads": 2} | arguments)


def strong(network):
    """Larger weights in the place of those near zero, so that attention tells its tokens apart."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "patch"), [(28, 4), (28, 2), (16, 1), (32, 8), (8, 8)])
def test_the_output_has_the_size_of_the_input(channels, size, patch):
    check_output_size(awaken(small(size, channels, 2 * channels, patch_size=patch)), channels, size)


@pytest.mark.parametrize("depth", [1, 5])
def test_at_first_the_output_is_zero_and_every_weight_is_trained(depth):
    check_it_starts_asleep_and_wakes(lambda: small(labels=True, num_classes=3, depth=depth))


def test_weights_start_as_in_the_authors_code():
    """With a deviation of 0.02, but for what starts as zero or as the identity, and without biases."""
    network = small(width=64, labels=True, num_classes=99, in_channels=4)
    of_block = [[block.query_key_value, block.attended, block.mlp[0], block.mlp[2]] for block in network.down]
    layers = [network.patches, *network.joined, *(layer for part in of_block for layer in part)]
    for weight in (network.positions, network.label_embedding.weight, *(layer.weight for layer in layers)):
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.06)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert not any(bool(layer.bias.any()) for layer in linear if layer.bias is not None)


@pytest.mark.parametrize("channels", [1, 3])
def test_at_first_the_last_convolution_changes_nothing(channels):
    x = torch.randn(2, channels, 16, 16)
    torch.testing.assert_close(small(out_channels=channels).out(x), x)


@pytest.mark.parametrize("labels", [True, False])
def test_each_sample_depends_on_its_own_image_time_and_label(labels):
    check_samples_are_apart(strong(small(labels=labels, num_classes=3)), 16, labels)


def test_the_far_corner_reaches_every_pixel():
    network, x = strong(small()), torch.zeros(1, 1, 16, 16, requires_grad=True)
    network(x, torch.tensor([5.0]))[0, 0, 0, 0].backward()
    assert x.grad[0, 0, -1, -1] != 0


@pytest.mark.parametrize("patch", [2, 4])
def test_without_attention_a_pixel_depends_on_the_patches_next_to_it(patch):
    """A patch goes out where it came in, and the last convolution looks one pixel beyond its edge."""
    network = strong(small(patch_size=patch))
    for block in (*network.down, network.middle, *network.up):
        nn.init.zeros_(block.attended.weight)
    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    network(x, torch.tensor([5.0]))[0, 0, 8, 9].backward()  # the first row of a patch
    seen = nn.functional.max_pool2d((x.grad != 0).float(), patch)[0, 0]
    rows, columns = {7 // patch, 8 // patch, 9 // patch}, {8 // patch, 9 // patch, 10 // patch}
    assert {tuple(place) for place in seen.nonzero().tolist()} == {(r, c) for r in rows for c in columns}


def test_a_block_is_that_of_the_library_with_its_weights():
    torch.manual_seed(0)
    library = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    block = strong(Block(16, 4, 32))
    with torch.no_grad():
        library.self_attn.in_proj_weight.copy_(block.query_key_value.weight)
        library.self_attn.in_proj_bias.zero_()
        for theirs, ours in (
            (library.self_attn.out_proj, block.attended), (library.norm1, block.norm_1), (library.norm2, block.norm_2),
            (library.linear1, block.mlp[0]), (library.linear2, block.mlp[2]),
        ):  # fmt: skip
            theirs.load_state_dict(ours.state_dict())
    tokens = torch.randn(2, 5, 16)
    torch.testing.assert_close(block(tokens), library(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [0, 1])
def test_a_block_of_the_second_half_takes_the_tokens_of_its_mirror_image(place):
    """Where it takes them alone, what lies between makes no difference, and what lies before does."""
    network = strong(small())
    with torch.no_grad():
        network.joined[place].weight[:, :16] = 0  # of the blocks before it
    given = torch.randn(1, 1, 16, 16), torch.tensor([5.0])
    before = network(*given)
    mirror = len(network.down) - 1 - place
    between = [*network.down[mirror + 1 :], network.middle, *network.up[:place]]
    for block in between:
        strong(block)
    torch.testing.assert_close(network(*given), before, rtol=0, atol=0)
    strong(network.down[mirror])
    assert (network(*given) - before).abs().max() > 1e-3


def test_time_and_label_are_tokens_of_their_own():
    """The label's token is not there without labels."""
    assert small().positions.shape == (17, 16)
    assert small(labels=True, num_classes=3).positions.shape == (18, 16)


@pytest.mark.parametrize(
    ("sizes", "images", "millions"),
    [
        ({"width": 512, "depth": 13, "heads": 8, "patch_size": 2}, (3, 32, None), 44),
        ({"width": 768, "depth": 17, "heads": 12, "patch_size": 4}, (3, 64, 1000), 131),
        ({"width": 1024, "depth": 21, "heads": 16, "patch_size": 4}, (3, 64, 1000), 287),
    ],
)
def test_the_sizes_of_the_paper_have_its_parameters(sizes, images, millions):
    """Bao et al. 2023, table 1 and the tables of results: S on CIFAR-10, M and L on ImageNet at 64×64."""
    channels, image_size, classes = images
    with torch.device("meta"):
        network = UViT(channels, channels, image_size, classes, **sizes, labels=classes is not None)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == pytest.approx(millions, abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 3}, r"network\.patch_size must divide data\.image_size=16, got 3"),
        ({"width": 18, "heads": 4}, r"network\.width must be a multiple of 2 and of network\.heads=4"),
        ({"width": 15, "heads": 3}, r"network\.width must be a multiple of 2"),
        ({"width": 2, "heads": 1}, r"network\.width must be .* at least 4, got 2"),
        ({"heads": 0}, r"network\.heads=0"),
        ({"depth": 4}, r"network\.depth must be odd, for as many blocks before the middle as after, got 4"),
        ({"depth": 2}, r"network\.depth must be odd"),
        ({"depth": -1}, r"network\.depth must be odd"),
        ({"mlp_ratio": 0.0}, r"must be at least 1 and finite, got network\.mlp_ratio=0\.0"),
        ({"mlp_ratio": 0.06}, r"must be at least 1 and finite"),
        ({"mlp_ratio": math.inf}, r"must be at least 1 and finite, got network\.mlp_ratio=inf"),
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
    network = small(8, width=4, depth=1, heads=1, mlp_ratio=1 / 4, patch_size=8)
    assert network(torch.zeros(1, 1, 8, 8), torch.zeros(1)).shape == (1, 1, 8, 8)
