import pytest
import torch

from diffusion_lab.networks import TextTransformer
from network_checks import awaken

#: The overrides that make it small, for the tests of all options together.
SMALL = ("network.width=16", "network.depth=1", "network.heads=2")


def small(**arguments):
    torch.manual_seed(0)
    sizes = {"num_states": 6, "num_outputs": 5, "width": 16, "depth": 2, "heads": 2}
    return awaken(TextTransformer(**sizes | arguments)).eval()


def inputs():
    return torch.tensor([[0, 1, 2, 5], [3, 4, 5, 5], [5, 5, 5, 5]]), torch.tensor([10.0, 500.0, 990.0])


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
@pytest.mark.parametrize("time", [False, True])
def test_every_position_sees_every_other_in_its_own_sample_alone(norm, mlp, time):
    network = small(norm=norm, mlp=mlp, time=time)
    x, t = inputs()
    before = network(x, t)
    assert before.shape == (3, 4, 5)
    changed = x.clone()
    changed[1, 3] = 0
    moved = (network(changed, t) - before).abs().amax(-1)
    assert moved[1].min() > 1e-6  # to the left and to the right
    assert moved[[0, 2]].max() < 1e-6


def test_it_is_told_the_time_where_it_says_so():
    x, t = inputs()
    for time in (False, True):
        network = small(time=time)
        assert network.takes_time is time
        assert bool((network(x, t) != network(x, t + 100)).any()) is time


def test_labels_modulate_it():
    network, (x, t) = small(labels=True, num_classes=3), inputs()
    one, other = network(x, t, torch.tensor([0, 1, 2])), network(x, t, torch.tensor([0, 3, 2]))
    moved = (one - other).abs().amax((1, 2))
    assert moved[1] > 1e-6
    assert moved[[0, 2]].max() < 1e-6
    with pytest.raises(ValueError, match=r"network\.labels=true"):
        small()(x, t, torch.tensor([0, 1, 2]))


def test_order_matters_and_a_shift_does_not():
    """Rotary positions: what two tokens see of each other depends on how far apart they are."""
    network = small(depth=1)
    x = torch.tensor([[1, 2, 3, 4]])
    assert (network(x, None)[0, 0] - network(x[:, [0, 2, 1, 3]], None)[0, 0]).abs().max() > 1e-6
    turned = network.blocks[0]
    query = torch.randn(1, 2, 6, 8)
    from diffusion_lab.networks.rotary_attention import _turned
    from diffusion_lab.networks.text_transformer import _turn

    turn = _turn(8, torch.zeros(1, 6, 16))
    scores = torch.einsum(
        "bhid,bhjd->bhij",
        _turned(query[:, :, :1].expand_as(query), turn),
        _turned(query[:, :, 1:2].expand_as(query), turn),
    )
    for k in range(-5, 6):
        diagonal = scores.diagonal(k, dim1=2, dim2=3)
        torch.testing.assert_close(diagonal, diagonal[..., :1].expand_as(diagonal), atol=1e-5, rtol=1e-4)
    assert turned.heads == 2


@pytest.mark.parametrize("time", [False, True])
def test_it_starts_with_no_opinion_and_every_weight_is_trained(time):
    torch.manual_seed(0)
    asleep = TextTransformer(6, 5, width=16, depth=2, heads=2, time=time)
    x, t = inputs()
    assert not bool(asleep(x, t).any())
    network = small(time=time).train()
    network(x, t).square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.any()) for p in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({"width": 18, "heads": 4}, "width"), ({"depth": 0}, "depth"), ({"dropout": 1.0}, "dropout")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(wrong, key):
    with pytest.raises(ValueError, match=rf"network\.{key}"):
        TextTransformer(**{"num_states": 6, "num_outputs": 5, "width": 16, "depth": 2, "heads": 2} | wrong)
