"""The U-Net as `UNet2DModel`, and back, against the library's own."""

import pytest
import torch
from diffusers import UNet2DModel

from diffusion_lab.errors import LabError
from diffusion_lab.exchange.diffusers_unet import unet_config, unet_from_diffusers, unet_node, unet_to_diffusers
from diffusion_lab.networks import UNet

NODE = {
    "base_channels": 8, "channel_multipliers": [1, 2], "num_blocks": 1, "attention_sizes": [8], "head_channels": 8,
    "heads": None, "dropout": 0.0, "scale_shift": True, "learned_resampling": True, "norm_groups": 4, "norm_eps": 1e-4,
    "freq_shift": 1, "time_scale": 1.0, "labels": False, "patch_size": 1, "fourier_features": [],
}  # fmt: skip
KINDS = [
    {},
    {"scale_shift": False, "freq_shift": 0, "labels": True},
    {"learned_resampling": "conv", "num_blocks": 2, "head_channels": 4},
    {"learned_resampling": "conv_ddpm", "scale_shift": False, "attention_sizes": [16]},
    {"learned_resampling": "conv_ddpm", "labels": True, "attention_sizes": [], "heads": 1},
    {"attention_sizes": [16, 8], "heads": None, "channel_multipliers": [1, 1, 2]},
    {"channel_multipliers": [1], "attention_sizes": [16]},
]


def ours(node, image_size=16):
    torch.manual_seed(0)
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    network = UNet(3, 3, image_size, num_classes=4 if node["labels"] else None, **arguments)
    return randomized(network)


def randomized(network):
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def inputs(labelled):
    torch.manual_seed(1)
    return torch.randn(3, 3, 16, 16), torch.tensor([0, 17, 999]), torch.tensor([0, 3, 1]) if labelled else None


def check(network, theirs, labelled):
    x, t, labels = inputs(labelled)
    with torch.no_grad():
        there = theirs(x, t, class_labels=labels).sample
        torch.testing.assert_close(
            network(x, t.float(), labels), there, rtol=1e-4, atol=1e-4 * float(there.abs().max())
        )


@pytest.mark.parametrize("kind", [*KINDS, {"learned_resampling": False, "num_blocks": 2}], ids=str)
def test_there_the_output_is_the_same(kind):
    node = NODE | kind
    network = ours(node)
    config = unet_config(network, node, (3, 16, 16))
    theirs = UNet2DModel(**{key: value for key, value in config.items() if key != "_class_name"}).eval()
    theirs.load_state_dict(unet_to_diffusers(network))
    check(network, theirs, node["labels"])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_here_the_output_is_the_same(kind):
    node = NODE | kind
    config = unet_config(ours(node), node, (3, 16, 16))
    theirs = randomized(UNet2DModel(**{key: value for key, value in config.items() if key != "_class_name"}))
    read = unet_node(config)
    network = ours(read)
    classes = theirs.class_embedding.num_embeddings if node["labels"] else None
    if classes:
        network.label_embedding = torch.nn.Embedding(classes + 1, 4 * node["base_channels"])
    found = unet_from_diffusers(network, config, theirs.state_dict())
    network.load_state_dict({name.removeprefix("network."): value for name, value in found.items()})
    check(network, theirs, node["labels"])


def test_a_config_that_names_little_has_the_library_s_defaults():
    small = {"sample_size": 16, "block_out_channels": (32, 32), "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    theirs = randomized(UNet2DModel(**small, **blocks))
    network = ours(unet_node({**small, **blocks}))
    found = unet_from_diffusers(network, {}, theirs.state_dict())
    network.load_state_dict({name.removeprefix("network."): value for name, value in found.items()})
    check(network, theirs, False)


def test_weights_of_attention_under_their_earlier_names_are_read():
    config = unet_config(ours(NODE), NODE, (3, 16, 16))
    theirs = randomized(UNet2DModel(**{key: value for key, value in config.items() if key != "_class_name"}))
    earlier = {}
    for name, value in theirs.state_dict().items():
        for now, before in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f".{now}.", f".{before}.")
        earlier[name] = value
    network = ours(unet_node(config))
    found = unet_from_diffusers(network, config, earlier)
    network.load_state_dict({name.removeprefix("network."): value for name, value in found.items()})
    check(network, theirs, False)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"patch_size": 2}, r"no counterpart of network\.patch_size=2"),
        ({"channel_multipliers": [2, 2]}, r"network\.channel_multipliers=\[2, 2\]; the first must be 1"),
        ({"fourier_features": [6]}, r"no counterpart of network\.fourier_features"),
        ({"time_scale": 0.25}, r"no counterpart of network\.time_scale"),
        ({"norm_groups": None}, r"in one number of groups, and this network in .*: train with network\.norm_groups=8"),
        (
            {"heads": 2, "attention_sizes": [16]},
            "heads of one width, and this network of 4, 8: train with network.head",
        ),
    ],
)
def test_what_has_no_counterpart_there_is_named(kind, message):
    node = NODE | {"base_channels": 8} | kind
    with pytest.raises(LabError, match=message):
        unet_config(ours(node), node, (3, 16, 16))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"time_embedding_type": "fourier"}, "time_embedding_type='fourier': only 'positional'"),
        ({"center_input_sample": True}, "center_input_sample=True: only False"),
        ({"add_attention": False}, "add_attention=False: only True"),
        ({"act_fn": "gelu"}, "act_fn='gelu': only 'silu'"),
        ({"sample_size": None}, "sample_size=None: a whole number"),
        ({"time_embedding_dim": 7}, "time_embedding_dim=7: only 32"),
        ({"block_out_channels": [8, 12]}, "each must be a multiple of the first"),
        ({"down_block_types": ["SkipDownBlock2D", "AttnDownBlock2D"]}, "down_block_types has SkipDownBlock2D"),
        ({"up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D"]}, "must mirror down_block_types"),
        ({"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}, "resampled by conv and resnet"),
        ({"attn_norm_num_groups": None}, "attn_norm_num_groups=None"),
        ({"downsample_padding": 2}, "downsample_padding=2: 0 or 1"),
        ({"attention_head_dim": 5}, "attention_head_dim=5 does not divide"),
    ],
)
def test_what_has_no_counterpart_here_is_named(setting, message):
    config = unet_config(ours(NODE), NODE, (3, 16, 16)) | setting
    with pytest.raises(LabError, match=message):
        unet_node(config)


def test_a_weight_that_is_missing_or_left_over_is_named():
    config, network = unet_config(ours(NODE), NODE, (3, 16, 16)), ours(NODE)
    weights = unet_to_diffusers(network)
    with pytest.raises(LabError, match=r"the weight conv_out\.bias is missing"):
        unet_from_diffusers(network, config, {name: v for name, v in weights.items() if name != "conv_out.bias"})
    with pytest.raises(LabError, match="the weight extra has no counterpart here"):
        unet_from_diffusers(network, config, weights | {"extra": torch.zeros(1)})
