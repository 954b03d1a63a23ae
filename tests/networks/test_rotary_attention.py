"""The CPU's ways to attention with rotary positions against attention written out."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion_lab.networks.rotary_attention import attend_turned, turned_heads


def case(length, dtype=torch.float32, batch=5, heads=2, head=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, length, 3 * heads * head, generator=generator).to(dtype).requires_grad_()
    angles = 6 * torch.rand(length, head // 2, generator=generator)
    return x, heads, torch.stack([angles.cos(), angles.sin()])


def attend_with_rotary(x, heads, turn, mask=None):
    return attend_turned(*turned_heads(x, heads, turn), mask)


def written_out(x, heads, turn, mask=None):
    """Attention in float64, one product after the other; a pair of values is a complex number that is turned."""
    query, key, value = x.double().unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = (torch.complex(*one.chunk(2, dim=-1)) * torch.complex(*turn.double()) for one in (query, key))
    query, key = (torch.cat([one.real, one.imag], dim=-1) for one in (query, key))
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def value_and_gradient(attention, x, *rest):
    seen = attention(x, *rest)
    weight = torch.linspace(-1, 1, seen.numel()).view(seen.shape)
    return seen.detach(), torch.autograd.grad((seen * weight).sum(), x)[0]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("length", "dtype", "tolerance"), [(7, torch.float32, 1e-5), (130, torch.bfloat16, 2e-2)]
)  # the second by products of all scores
def test_attention_and_its_gradient_are_those_that_are_written_out(length, dtype, tolerance, masked):
    x, heads, turn = case(length, dtype)
    mask = torch.ones(length, length).tril().bool() if masked else None
    for found, expected in zip(
        value_and_gradient(attend_with_rotary, x, heads, turn, mask),
        value_and_gradient(written_out, x, heads, turn, mask),
        strict=True,
    ):
        assert found.dtype == dtype
        error = (found.double() - expected.double()).norm() / expected.double().norm()
        assert float(error) < tolerance


@pytest.mark.parametrize("autocast", [False, True])
def test_the_way_of_the_cpu_has_the_bits_of_the_way_of_all_devices(autocast, monkeypatch):
    x, heads, turn = case(11, torch.bfloat16 if autocast else torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = value_and_gradient(attend_with_rotary, x, heads, turn)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        expected = value_and_gradient(attend_with_rotary, x, heads, turn)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


class Operations(TorchDispatchMode):
    """The names of the operations in its block."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func._schema.name)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    ("length", "dtype", "compiling", "by_products"),
    [
        (127, torch.bfloat16, False, False),
        (128, torch.bfloat16, False, True),
        (512, torch.bfloat16, False, True),
        (513, torch.bfloat16, False, False),
        (128, torch.float32, False, False),
        (128, torch.bfloat16, True, False),
    ],
)
def test_all_scores_are_multiplied_out_where_that_is_faster(length, dtype, compiling, by_products, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    query = torch.zeros(1, 1, length, 8, dtype=dtype)
    with Operations() as seen:
        attend_turned(query, query, query)
    assert ("aten::baddbmm" in seen.names) is by_products
