import pytest
import torch
from torch import nn

from diffusion_lab.training.muon import MuonWithAdamW, nearly_orthogonal
from pretended_device import pretended_device


def trained(optimizer, network, x, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Tanh(), nn.Linear(9, 4))


@pytest.fixture
def x():
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


def test_the_step_of_a_matrix_is_nearly_orthogonal_and_as_large_as_one_of_adamw(network, x):
    """The polar factor of the gradient, by singular values, as the oracle of Muon's iteration."""
    optimizer = MuonWithAdamW(network.parameters(), lr=0.01, weight_decay=0.0)
    before = network[0].weight.detach().clone()
    trained(optimizer, network, x, 1)
    left, _, right = torch.linalg.svd(network[0].weight.grad, full_matrices=False)
    step = (before - network[0].weight.detach()) / (0.01 * 0.2 * max(before.shape) ** 0.5)
    sizes = (left.T @ step @ right.T).diagonal()
    assert ((sizes > 0.6) & (sizes < 1.3)).all()
    assert (step - left @ torch.diag(sizes) @ right).abs().max() < 0.05


def test_steps_are_those_of_pytorch_but_for_the_digits_that_bfloat16_lacks(x):
    one, other = nn.Linear(6, 9, bias=False), nn.Linear(6, 9, bias=False)
    other.load_state_dict(one.state_dict())
    before = one.weight.detach().clone()
    trained(MuonWithAdamW(one.parameters(), lr=0.02, momentum=0.9, weight_decay=0.1), one, x, 3)
    trained(torch.optim.Muon(other.parameters(), 0.02, 0.1, 0.9, adjust_lr_fn="match_rms_adamw"), other, x, 3)
    difference, way = (one.weight - other.weight).norm(), (one.weight - before).norm()
    assert 0 < difference < 0.02 * way


def test_on_a_device_that_is_not_the_cpu_steps_are_those_of_pytorch():
    generator = torch.Generator().manual_seed(3)
    start, *gradients = torch.randn(4, 9, 6, generator=generator)
    other = nn.Parameter(start.clone())
    theirs = torch.optim.Muon([other], 0.02, 0.1, 0.9, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients:
        other.grad = gradient.clone()
        theirs.step()
    with pretended_device() as device:
        weight = nn.Parameter(start.to(device))
        ours = MuonWithAdamW([weight], lr=0.02, momentum=0.9, weight_decay=0.1)
        for gradient in gradients:
            weight.grad = gradient.to(device)
            ours.step()
        assert torch.equal(weight.detach().cpu(), other.detach())


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3)])
def test_the_iteration_leaves_singular_vectors_and_brings_values_near_1(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    sizes = sizes / matrix.norm()
    for _ in range(5):  # each singular value by itself
        sizes = 3.4445 * sizes - 4.775 * sizes**3 + 2.0315 * sizes**5
    found = nearly_orthogonal(matrix, (3.4445, -4.775, 2.0315), 5)
    torch.testing.assert_close(found, left @ torch.diag(sizes) @ right)
    assert ((sizes > 0.6) & (sizes < 1.3)).all()


def test_a_matrix_without_a_gradient_stays_as_it_is(network, x):
    before = network[3].weight.detach().clone()
    optimizer = MuonWithAdamW(network.parameters())
    network[:3](x).square().sum().backward()
    optimizer.step()
    assert torch.equal(network[3].weight, before)


def test_all_but_matrices_are_trained_by_adamw(x):
    torch.manual_seed(0)
    one, other = nn.Conv1d(1, 3, 2), nn.Conv1d(1, 3, 2)
    other.load_state_dict(one.state_dict())
    trained(MuonWithAdamW(one.parameters(), adamw_lr=0.02), one, x[:, None], 3)
    trained(torch.optim.AdamW(other.parameters(), lr=0.02, weight_decay=0.01), other, x[:, None], 3)
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)


def test_a_restored_state_goes_on_to_the_same_bits(network, x):
    optimizer = MuonWithAdamW(network.parameters())
    trained(optimizer, network, x, 3)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    state = optimizer.state_dict()
    state = {**state, "state": {key: {n: v.clone() for n, v in of.items()} for key, of in state["state"].items()}}
    trained(optimizer, network, x, 2)
    expected = [parameter.detach().clone() for parameter in network.parameters()]
    network.load_state_dict(weights)
    again = MuonWithAdamW(network.parameters(), lr=1.0, adamw_lr=1.0)  # the state has the rates, too
    again.load_state_dict(state)
    trained(again, network, x, 2)
    assert all(torch.equal(a, b) for a, b in zip(expected, network.parameters(), strict=True))


def test_a_schedule_scales_both_rates(network, x):
    optimizer = MuonWithAdamW(network.parameters(), lr=0.1, adamw_lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 if step else 0.0)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    trained(optimizer, network, x, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.005]


@pytest.mark.parametrize(
    ("argument", "message"), [({"lr": -1.0}, "-1"), ({"adamw_lr": -1.0}, "-1"), ({"momentum": -0.5}, "momentum")]
)
def test_arguments_out_of_range_are_refused(network, argument, message):
    with pytest.raises(ValueError, match=message):
        MuonWithAdamW(network.parameters(), **argument)


def test_a_step_returns_the_loss_of_its_closure_which_has_gradients():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = MuonWithAdamW([weight], lr=0.1)
    assert optimizer.step() is None

    def closure():
        loss = weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 4
    assert not torch.equal(weight, torch.ones(2, 2))
