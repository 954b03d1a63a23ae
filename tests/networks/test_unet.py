import pytest
import torch

from diffusion_lab.networks import UNet
from diffusion_lab.networks.unet import SelfAttention
from network_checks import awaken, check_it_starts_asleep_and_wakes, check_output_size, check_samples_are_apart

#: The overrides that make it small, for the tests of all options together.
SMALL = (
    "network.base_channels=8", "network.channel_multipliers=[1,2]", "network.num_blocks=1", "network.head_channels=8",
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
@pytest.mark.parametrize("learned_resampling", [True, False])
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


def test_at_first_the_output_is_zero_and_every_weight_is_trained():
    check_it_starts_asleep_and_wakes(lambda: small(labels=True, num_classes=3))


@pytest.mark.parametrize("scale_shift", [True, False])
def test_each_sample_depends_on_its_own_image_time_and_label(scale_shift):
    check_samples_are_apart(awaken(small(labels=True, num_classes=3, scale_shift=scale_shift)), 16, labels=True)


def test_attention_is_softmax_of_the_products_of_its_heads():
    torch.manual_seed(0)
    attention = SelfAttention(8, 4)
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
        ({"num_blocks": 0}, r"network\.num_blocks must be 1 or more"),
        ({"dropout": 1.0}, r"network\.dropout must be at least 0 and below 1"),
        ({"condition_dropout": -0.1}, r"network\.condition_dropout must be at least 0"),
        ({"labels": True}, r"network\.labels=true needs data with labels"),
        ({"head_channels": 0}, r"network\.head_channels must be 1 or more, got 0"),
        ({"attention_sizes": (5, 7)}, r"network\.attention_sizes=\[5, 7\]: no level has such a size.*\[16, 8\]"),
        ({"head_channels": 3}, r"network\.head_channels must divide the width"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)
