import math

import pytest
import torch

from diffusion_lab.networks import UNet
from diffusion_lab.networks.layers import fourier_features, scaled_group_norm
from diffusion_lab.networks.unet import ConvResample, ResidualBlock, SelfAttention
from network_checks import (
    awaken,
    check_dropout,
    check_it_starts_asleep_and_wakes,
    check_output_size,
    check_samples_are_apart,
)

#: The overrides that make it small, for the tests of all options together.
SMALL = (
    "network.base_channels=8", "network.channel_multipliers=[1,1,2]", "network.num_blocks=1", "network.head_channels=8",
)  # fmt: skip


def small(image_size=16, in_channels=1, out_channels=1, **arguments):
    torch.manual_seed(0)
    options = {"base_channels": 8, "channel_multipliers": (1, 2), "num_blocks": 1, "head_channels": 8} | arguments
    return UNet(in_channels, out_channels, image_size, **options)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "multipliers", "blocks", "attention"),
    [(28, (1, 2, 2), 2, (7,)), (32, (1, 2, 2, 2), 1, (8, 4)), (16, (1,), 1, ()), (8, (2, 1), 3, (8, 4))],
)
@pytest.mark.parametrize("learned_resampling", [True, False, "conv", "conv_ddpm"])
def test_the_output_has_the_size_of_the_input(channels, size, multipliers, blocks, attention, learned_resampling):
    network = small(
        size,
        channels,
        2 * channels,
        channel_multipliers=multipliers,
        num_blocks=blocks,
        attention_sizes=attention,
        learned_resampling=learned_resampling,
    )
    check_output_size(awaken(network), channels, size)


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_patches_become_channels_of_smaller_levels(patch_size):
    """Beside a network without patches: the same layers see the patches' pixels as channels, and none other."""
    torch.manual_seed(0)
    network = awaken(small(16, 1, 2, patch_size=patch_size, attention_sizes=(2, 4, 8)))
    plain = small(16 // patch_size, patch_size**2, 2 * patch_size**2, attention_sizes=(2, 4, 8))
    plain.load_state_dict(network.state_dict())
    x, time = torch.randn(2, 1, 16, 16), torch.tensor([3.0, 700.0])
    rows = x.reshape(2, 16 // patch_size, patch_size, 16 // patch_size, patch_size)
    pixels = rows.permute(0, 2, 4, 1, 3).flatten(1, 2)  # [B, a row and a column in the patch, H, W]
    out = plain(pixels, time).reshape(2, 2, patch_size, patch_size, 16 // patch_size, 16 // patch_size)
    torch.testing.assert_close(network(x, time), out.permute(0, 1, 4, 2, 5, 3).reshape(2, 2, 16, 16))


def test_fourier_features_join_the_input():
    """Beside a network of more channels that is given the sines and cosines."""
    torch.manual_seed(0)
    network = awaken(small(16, 2, 2, fourier_features=[3, 7], attention_sizes=(8,)))
    plain = small(16, 10, 2, attention_sizes=(8,))
    plain.load_state_dict(network.state_dict())
    x, time = torch.rand(2, 2, 16, 16) * 2 - 1, torch.tensor([3.0, 700.0])
    angles = x.double() * torch.pi
    waves = [wave(2**n * angles) for n in (3, 7) for wave in (torch.sin, torch.cos)]
    seen = torch.cat([x, *(wave.float() for wave in waves)], dim=1)
    torch.testing.assert_close(network(x, time), plain(seen, time), rtol=0, atol=2e-4)


def test_fourier_features_tell_levels_of_8_bits_apart_also_in_bfloat16():
    x = torch.linspace(-1, 1, 257).bfloat16().reshape(1, 1, 1, 257)
    joined = fourier_features(x, [7])
    assert joined.dtype == torch.bfloat16
    torch.testing.assert_close(joined[0, 2].double(), (128 * torch.pi * x.double()).cos()[0, 0], rtol=0, atol=4e-3)


@pytest.mark.parametrize("exponents", [[7, 7], [-1], [13], [1.5]])
def test_fourier_features_out_of_range_are_refused(exponents):
    with pytest.raises(ValueError, match=r"network\.fourier_features must be different integers from 0 to 12"):
        small(fourier_features=exponents)


def test_patches_that_do_not_fill_the_image_are_refused():
    with pytest.raises(ValueError, match=r"network\.patch_size must divide data\.image_size=16, got 3"):
        small(16, patch_size=3)
    with pytest.raises(ValueError, match=r"data\.image_size=16 in patches of 8 halves evenly only 1 times"):
        small(16, patch_size=8, channel_multipliers=(1, 1, 1))


def test_at_first_the_output_is_zero_and_every_weight_is_trained():
    check_it_starts_asleep_and_wakes(lambda: small(labels=True, num_classes=3))


@pytest.mark.parametrize("scale_shift", [True, False])
def test_each_sample_depends_on_its_own_image_time_and_label(scale_shift):
    check_samples_are_apart(awaken(small(labels=True, num_classes=3, scale_shift=scale_shift)), 16, labels=True)


def test_attention_is_softmax_of_the_products_of_its_heads():
    torch.manual_seed(0)
    attention = SelfAttention(8, heads=2)
    torch.nn.init.normal_(attention.out.weight)
    x = torch.randn(2, 8, 3, 3)
    positions = attention.norm(x).flatten(2).transpose(1, 2)
    query, key, value = attention.query_key_value(positions).chunk(3, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(query[..., head] @ key[..., head].transpose(1, 2) / 2, dim=-1)
        heads.append(weights @ value[..., head])
    expected = x + attention.out(torch.cat(heads, -1)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_scaled_norm_and_its_gradients_are_those_of_the_plain_form(scaled, memory_format):
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(3, 12).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (2 + torch.randn(2, 12, 5, 4).double()).to(memory_format=memory_format).requires_grad_()
    told = [torch.randn(2, 12, requires_grad=True, dtype=torch.float64) for _ in range(2)] if scaled else []
    found, expected = scaled_group_norm(norm, x, *told), norm(x)
    if scaled:
        expected = expected * (1 + told[0][:, :, None, None]) + told[1][:, :, None, None]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert found.is_contiguous(memory_format=memory_format)
    weights, variables = torch.randn_like(x), [x, *told, *norm.parameters()]
    gradients = [torch.autograd.grad((out * weights).sum(), variables) for out in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_scaled_norm_of_bfloat16_is_that_of_float32_rounded_once():
    torch.manual_seed(0)
    norm, x = torch.nn.GroupNorm(2, 8), torch.randn(3, 8, 6, 6).bfloat16()
    scale, shift = torch.randn(3, 8).bfloat16(), torch.randn(3, 8).bfloat16()
    found = scaled_group_norm(norm, x, scale, shift)
    exact = norm(x.float()) * (1 + scale.float())[:, :, None, None] + shift.float()[:, :, None, None]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=2**-7, atol=2**-6)


@pytest.mark.parametrize("scale_shift", [True, False])
@pytest.mark.parametrize(("after", "resample"), [(8, None), (16, None), (8, "up"), (8, "down")])
def test_a_block_is_its_plain_form(after, resample, scale_shift):
    """Resample, convolve, normalize, one after the other."""
    torch.manual_seed(0)
    block = awaken(ResidualBlock(8, after, 12, 0.0, scale_shift, resample).double(), std=0.5)
    x, time = torch.randn(2, 8, 6, 6).double(), torch.randn(2, 12).double()
    h = block.conv_1(block.resample(torch.nn.functional.silu(block.norm_1(x))))
    told = block.time(torch.nn.functional.silu(time))[:, :, None, None]
    h = block.norm_2(h) * (1 + told[:, :after]) + told[:, after:] if scale_shift else block.norm_2(h + told)
    skipped = block.resample(x) if block.skip is None else block.skip(x)
    torch.testing.assert_close(block(x, time), skipped + block.conv_2(torch.nn.functional.silu(h)))


def test_without_labels_it_takes_none():
    network = small()
    assert network.condition is None
    with pytest.raises(ValueError, match="takes labels only with"):
        network(torch.zeros(1, 1, 16, 16), torch.zeros(1), torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channel_multipliers": ()}, r"network\.channel_multipliers needs one or more"),
        ({"channel_multipliers": (1,) * 6}, r"network\.channel_multipliers has 6 levels.*16 halves evenly only 4"),
        ({"base_channels": 12}, r"network\.base_channels must be a multiple of 8, got 12"),
        ({"base_channels": 0}, r"network\.base_channels must be a multiple of 8, got 0"),
        ({"num_blocks": 0}, r"network\.num_blocks must be 1 or more"),
        ({"dropout": 1.0}, r"network\.dropout must be at least 0 and below 1"),
        ({"condition_dropout": -0.1}, r"network\.condition_dropout must be at least 0"),
        ({"labels": True}, r"network\.labels=true needs data with labels"),
        ({"head_channels": 0}, r"network\.head_channels must be 1 or more, got 0"),
        ({"attention_sizes": (5, 7)}, r"network\.attention_sizes=\[5, 7\]: no level has such a size.*\[16, 8\]"),
        ({"head_channels": 3}, r"network\.head_channels must divide the width"),
        ({"heads": 0}, r"network\.heads must be 1 or more, or null, got 0"),
        ({"heads": 3}, r"network\.heads must divide the width of each level with attention, got 3"),
        ({"time_scale": 0.0}, r"network\.time_scale must be above 0, got 0\.0"),
        ({"time_scale": math.inf}, r"network\.time_scale must be above 0, got inf"),
        ({"norm_eps": 0.0}, r"network\.norm_eps must lie between 0 and 1, got 0\.0"),
        ({"norm_eps": 1.0}, r"network\.norm_eps must lie between 0 and 1, got 1\.0"),
        ({"norm_groups": 0}, r"network\.norm_groups must divide network\.base_channels=8"),
        ({"norm_groups": 3}, r"network\.norm_groups must divide network\.base_channels=8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_the_smallest_sizes_that_are_said_to_fit_do():
    network = small(2, head_channels=1, attention_sizes=(2,), norm_groups=1, fourier_features=(0, 12))
    assert network(torch.zeros(1, 1, 2, 2), torch.zeros(1)).shape == (1, 1, 2, 2)
    assert {module.heads for module in network.modules() if isinstance(module, SelfAttention)} == {8, 16}
    one = small(heads=1).middle.after
    assert one.heads == 1


@pytest.mark.parametrize(
    ("sizes", "channels"),
    [((), [16]), ((8,), [16] * 6), ((16,), [8] * 5 + [16]), ((16, 8), [8] * 5 + [16] * 6)],
)
def test_attention_follows_each_block_of_the_levels_that_are_named_and_the_middle(sizes, channels):
    """Two blocks of each level on the way down, and three on the way up."""
    modules = small(num_blocks=2, attention_sizes=sizes).modules()
    assert sorted(module.norm.num_channels for module in modules if isinstance(module, SelfAttention)) == channels


@pytest.mark.parametrize("groups", [None, 2])
def test_each_normalization_is_in_groups_and_has_a_number_added_as_is_asked_for(groups):
    network = small(norm_groups=groups, norm_eps=1e-3)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert {norm.eps for norm in norms} == {1e-3}
    assert all(norm.num_groups == (groups or norm.num_channels // 4) for norm in norms)
    assert ResidualBlock(8, 8, 4, 0.0, True).norm_2.eps == SelfAttention(8, 2).norm.eps == 1e-5  # where nothing is said


def test_there_are_at_most_32_groups_which_divide_the_channels():
    def groups(channels):
        return ResidualBlock(channels, channels, 4, 0.0, True).norm_1.num_groups

    assert [groups(channels) for channels in (4, 20, 22, 128, 136, 256)] == [1, 5, 2, 32, 17, 32]


def test_the_time_is_scaled_before_it_is_embedded():
    network, x, time = awaken(small()), torch.randn(2, 1, 16, 16), torch.tensor([3.0, 700.0])
    scaled = small(time_scale=0.5)
    scaled.load_state_dict(network.state_dict())
    torch.testing.assert_close(scaled(x, time), network(x, time / 2))
    assert (scaled(x, time) - network(x, time)).abs().max() > 1e-4
    assert [small(freq_shift=shift).position.freq_shift for shift in (0, 1)] == [0, 1]


@pytest.mark.parametrize("after_only", [False, True])
def test_a_convolution_of_stride_2_has_each_other_pixel_of_one_of_stride_1(after_only):
    """The even ones, or, padded on the right and below alone, the odd ones."""
    torch.manual_seed(0)
    layer, x = ConvResample(4, "down", after_only).double(), torch.randn(2, 4, 6, 6).double()
    whole = torch.nn.functional.conv2d(x, layer.conv.weight, layer.conv.bias, padding=1)
    first = 1 if after_only else 0
    torch.testing.assert_close(layer(x), whole[..., first::2, first::2])


def test_a_convolution_that_doubles_follows_repeated_pixels():
    torch.manual_seed(0)
    layer, x = ConvResample(4, "up", False).double(), torch.randn(2, 4, 3, 3).double()
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    whole = torch.nn.functional.conv2d(repeated, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), whole)


@pytest.mark.parametrize(
    ("learned", "kinds"), [(True, set()), (False, set()), ("conv", {False}), ("conv_ddpm", {True})]
)
def test_images_are_padded_after_them_alone_as_in_ddpm(learned, kinds):
    modules = small(learned_resampling=learned).modules()
    assert {module.after_only for module in modules if isinstance(module, ConvResample)} == kinds


def test_hidden_values_of_a_block_are_dropped_in_training():
    """With a last convolution that changes nothing, these are what is added to the input."""
    torch.manual_seed(0)
    block, x, time = ResidualBlock(8, 8, 12, 0.3, True), torch.randn(4, 8, 16, 16), torch.randn(4, 12)
    torch.nn.init.dirac_(block.conv_2.weight)
    check_dropout(block.train()(x, time) - x, block.eval()(x, time) - x, 0.3)
