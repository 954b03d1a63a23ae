"""Layers that are computed another way on the CPU against torch's."""

import pytest
import torch
from torch import nn

from diffusion_lab.networks.row_layers import RowLinear, RowRMSNorm

PAIRS = {
    "linear": (lambda: RowLinear(24, 40), lambda: nn.Linear(24, 40)),
    "without bias": (lambda: RowLinear(24, 40, bias=False), lambda: nn.Linear(24, 40, bias=False)),
    "norm": (lambda: RowRMSNorm(24, eps=1e-6), lambda: nn.RMSNorm(24, eps=1e-6)),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("layout", ["rows", "transposed", "two dimensions"])
def test_values_and_gradients_are_those_of_torchs_layers(name, layout):
    ours, theirs = (make() for make in PAIRS[name])
    for weight in ours.parameters():
        nn.init.normal_(weight)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 5, 24)
    x = {"rows": x, "transposed": x.transpose(0, 1).contiguous().transpose(0, 1), "two dimensions": x[0]}[layout]
    x = x.detach().requires_grad_()
    found, expected = ours(x), theirs(x)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad(out, [x, *layer.parameters()], weight) for out, layer in
                 ((found, ours), (expected, theirs))]  # fmt: skip
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_the_gradients_are_those_of_the_values(name):
    """Along a random direction, against the difference of two values."""
    layer = PAIRS[name][0]()
    x = torch.randn(2, 3, 24)
    step = 1e-2 * torch.randn_like(x)
    middle = x.clone().requires_grad_()
    (layer(middle).sin().sum()).backward()
    with torch.no_grad():
        difference = layer(x + step / 2).sin().sum() - layer(x - step / 2).sin().sum()
    torch.testing.assert_close((middle.grad * step).sum(), difference, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_under_autocast_and_in_other_dtypes_they_are_torchs_layers(name):
    ours, theirs = (make() for make in PAIRS[name])
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == theirs(x).dtype
        torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(ours.double()(x.double()), theirs.double()(x.double()))
