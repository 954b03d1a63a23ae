"""The diffusion transformer as `DiTTransformer2DModel`, against the library's own."""

import pytest
import torch
from diffusers import DiTTransformer2DModel

from diffusion_lab.errors import LabError
from diffusion_lab.exchange.diffusers_dit import dit_config, dit_to_diffusers
from diffusion_lab.networks import DiT

NODE = {
    "patch_size": 2, "width": 32, "depth": 2, "heads": 2, "mlp_ratio": 4.0, "dropout": 0.0, "norm": "layer",
    "mlp": "gelu", "positions": "sinusoidal_2d", "labels": False,
}  # fmt: skip


def ours(**kind):
    torch.manual_seed(0)
    node = NODE | kind
    network = DiT(3, 6, 8, num_classes=5 if node["labels"] else None, **node).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network, node


@pytest.mark.parametrize("labels", [True, False])
def test_there_the_output_is_the_same(labels):
    network, node = ours(labels=labels)
    config = dit_config(network, node, (3, 8, 8))
    theirs = DiTTransformer2DModel(**{key: value for key, value in config.items() if key != "_class_name"}).eval()
    theirs.load_state_dict(dit_to_diffusers(network))
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([0, 17, 999])
    given = torch.tensor([0, 4, 5]) if labels else None
    with torch.no_grad():
        there = theirs(x, t, class_labels=given if labels else torch.zeros_like(t)).sample
        torch.testing.assert_close(network(x, t.float(), given), there, rtol=1e-4, atol=1e-4 * float(there.abs().max()))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"positions": "sinusoidal"}, r"network\.positions=sinusoidal; train with network\.positions=sinusoidal_2d"),
        ({"positions": "rotary"}, r"network\.positions=rotary"),
        ({"norm": "rms"}, r"network\.norm=rms; train with network\.norm=layer"),
        ({"mlp": "swiglu"}, r"network\.mlp=swiglu"),
        ({"mlp_ratio": 2.0}, r"network\.mlp_ratio=2\.0"),
    ],
)
def test_what_has_no_counterpart_there_is_named(kind, message):
    network, node = ours(**kind)
    with pytest.raises(LabError, match=message):
        dit_config(network, node, (3, 8, 8))
