import math

import pytest
import torch

from diffusion_lab.networks import SimpleUNet
from diffusion_lab.networks.layers import SinusoidalEmbedding, conv_of_upsampled, group_norm
from diffusion_lab.networks.simple_unet import Block
from network_checks import bfloat16_by_default, check_dropout, check_output_size, check_samples_are_apart

#: The overrides that make it small, for the tests of all options together.
SMALL = ("network.base_channels=8",)


def small(image_size=16, in_channels=1, out_channels=1, **arguments):
    torch.manual_seed(0)
    return SimpleUNet(in_channels, out_channels, image_size, **{"base_channels": 8, "time_dim": 16} | arguments)


def test_the_tutorials_network_has_130305_parameters():
    network = SimpleUNet(1, 1, 28)
    assert sum(p.numel() for p in network.parameters()) == 130_305
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "multipliers"),
    [
        (16, (1, 2)),
        (28, (1, 2)),
        (32, (1, 2)),
        (16, (1, 2, 4)),
        (32, (1, 2, 4)),
        (28, (3,)),
        (16, (1, 1, 2, 2)),
    ],
)
def test_the_output_has_the_size_of_the_input(channels, size, multipliers):
    network = small(size, channels, 2 * channels, channel_multipliers=multipliers)
    check_output_size(network, channels, size)


def test_each_sample_depends_on_its_own_image_and_its_own_time():
    check_samples_are_apart(small(), 16, labels=False, least=1e-3)


def test_the_far_corner_reaches_every_pixel_by_way_of_the_bottleneck():
    network = small(channel_multipliers=(1, 2, 4))
    x = torch.zeros(1, 1, 16, 16, requires_grad=True)
    network(x, torch.tensor([5.0]))[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert x.grad[0, 0, -1, -1] != 0


def test_every_parameter_gets_a_gradient():
    network = small()
    network(torch.randn(2, 1, 16, 16), torch.tensor([3.0, 700.0])).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_every_convolution_looks_at_all_that_it_is_given():
    """Skips and what comes from below alike."""
    network = small(channel_multipliers=(1, 2, 4))
    network(torch.randn(2, 1, 16, 16), torch.tensor([3.0, 700.0])).square().mean().backward()
    for name, p in network.named_parameters():
        if p.ndim == 4:
            assert bool((p.grad.abs().sum((0, 2, 3)) > 0).all()), name


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("dim", [4, 10, 64])
def test_the_embedding_is_sines_then_cosines(dim, shift):
    positions = [0.0, 1.0, 37.0, 999.0]
    half = dim // 2
    frequencies = [math.exp(-k * math.log(10_000) / (half - shift)) for k in range(half)]
    expected = [[f(p * w) for f in (math.sin, math.cos) for w in frequencies] for p in positions]
    embedded = SinusoidalEmbedding(dim, shift)(torch.tensor(positions))
    torch.testing.assert_close(embedded, torch.tensor(expected), rtol=0, atol=2e-4)


def test_the_frequencies_end_at_1_in_10000_where_nothing_is_said():
    position = torch.tensor([37.0])
    assert torch.equal(SinusoidalEmbedding(8)(position), SinusoidalEmbedding(8, freq_shift=1)(position))


def test_the_embedding_is_in_float32_also_where_bfloat16_is_the_default():
    position = torch.tensor([998.0, 999.0])
    expected = SinusoidalEmbedding(64)(position)
    with bfloat16_by_default():
        assert torch.equal(SinusoidalEmbedding(64)(position), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_casting_the_module_leaves_the_embedding_as_it_was(dtype):
    """In bfloat16, steps 998 and 999 would be one."""
    position = torch.tensor([998.0, 999.0])
    before = SinusoidalEmbedding(64)(position)
    assert torch.equal(SinusoidalEmbedding(64).to(dtype)(position), before)
    assert (before[0] - before[1]).abs().max() > 0.5


def test_checkpoints_hold_parameters_only():
    network = small()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"image_size": 28, "channel_multipliers": (1, 2, 4)}, "network.channel_multipliers"),
        ({"image_size": 15}, "network.channel_multipliers"),
        ({"channel_multipliers": ()}, "network.channel_multipliers"),
        ({"channel_multipliers": (1, 0)}, "network.channel_multipliers"),
        ({"base_channels": 12}, "network.base_channels"),
        ({"base_channels": 0}, "network.base_channels"),
        ({"time_dim": 15}, "network.time_dim"),
        ({"time_dim": 2}, "network.time_dim"),
        ({"dropout": 1.0}, "network.dropout"),
        ({"dropout": -0.1}, "network.dropout"),
        ({"image_size": 4, "channel_multipliers": (2, 1)}, "network.channel_multipliers has 2 levels, which leave one"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, key):
    with pytest.raises(ValueError, match=key):
        small(**arguments)


def test_the_refusal_says_how_often_the_image_halves():
    with pytest.raises(ValueError, match=r"data\.image_size=28 halves evenly only 2 times"):
        small(28, channel_multipliers=(1, 2, 4))


def test_labels_are_refused():
    with pytest.raises(ValueError, match="takes no labels"):
        small()(torch.zeros(1, 1, 16, 16), torch.zeros(1), torch.zeros(1, dtype=torch.long))


def plain_forward(network, x, c_noise):
    """The network as the tutorial writes it: upsample, concatenate, convolve, normalize."""

    def block(layer, h):
        return torch.nn.functional.silu(layer.norm(layer.conv(h))) + layer.time(time)[:, :, None, None]

    time = network.time_embedding(network.position(c_noise).to(x.dtype))
    skips = []
    for layer in network.encoder:
        x = block(layer, x)
        skips.append(x)
        x = torch.nn.functional.max_pool2d(x, 2)
    x = block(network.bottleneck, x)
    for layer in network.decoder:
        up = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        x = block(layer, torch.cat([up, skips.pop()], dim=1))
    return network.out(x)


@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_those_of_the_plain_form(multipliers, memory_format):
    network = small(channel_multipliers=multipliers).double().to(memory_format=memory_format)
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    target, c_noise = torch.randn(3, 1, 16, 16, dtype=torch.float64), torch.tensor([0.0, 41.0, 999.0])
    out, plain = network(x, c_noise), plain_forward(network, x, c_noise)
    torch.testing.assert_close(out, plain, rtol=0, atol=1e-12)
    variables = [x, *network.parameters()]
    gradients, expected = (torch.autograd.grad((o - target).square().sum(), variables) for o in (out, plain))
    for name, gradient, of_plain in zip(["x", *network.state_dict()], gradients, expected, strict=True):
        torch.testing.assert_close(gradient, of_plain, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize(("height", "width", "inner", "outer"), [(4, 4, 3, 5), (1, 6, 8, 2)])
def test_a_convolution_of_what_is_upsampled_needs_no_upsampling(height, width, inner, outer):
    x, weight = torch.randn(2, inner, height, width).double(), torch.randn(outer, inner, 3, 3).double()
    up = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    plain = torch.nn.functional.conv2d(up, weight, padding=1)
    torch.testing.assert_close(conv_of_upsampled(x, weight), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_group_norm_of_a_small_dtype_is_that_of_float32_rounded_once(dtype):
    norm = torch.nn.GroupNorm(8, 16)
    torch.nn.init.uniform_(norm.weight)
    norm = norm.to(dtype)
    x = (3 * torch.randn(2, 16, 5, 5) + 1).to(dtype)
    exact = torch.nn.functional.group_norm(x.double(), 8, norm.weight.double(), norm.bias.double(), norm.eps)
    result = group_norm(norm, x)
    assert result.dtype == dtype
    half_a_digit = torch.finfo(dtype).eps / 2
    torch.testing.assert_close(result.double(), exact, rtol=1.01 * half_a_digit, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_agrees_with_the_plain_form_within_the_digits_of_bfloat16(dtype):
    network = small().to(memory_format=torch.channels_last)
    x, c_noise = torch.randn(2, 1, 16, 16), torch.tensor([3.0, 700.0])
    plain = plain_forward(network, x, c_noise)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = network(x, c_noise)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), plain, rtol=0, atol=0.05 if dtype == torch.bfloat16 else 1e-5)


def test_the_smallest_sizes_that_are_said_to_fit_do():
    network = small(4, channel_multipliers=(1, 2), base_channels=8, time_dim=4)
    assert network(torch.randn(2, 1, 4, 4), torch.tensor([3.0, 700.0])).shape == (2, 1, 4, 4)


def test_the_output_of_a_block_is_dropped_in_training():
    torch.manual_seed(0)
    block, x, time = Block(8, 16, 12, dropout=0.3), torch.randn(4, 8, 10, 10), torch.randn(4, 12)
    check_dropout(block.train()(x, time), block.eval()(x, time), 0.3)
