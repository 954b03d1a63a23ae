"""What every backbone must do, for tests of each. No test."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn


def awaken(network, std=0.1):
    """Put random weights in the place of those that start at zero."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=std)
    return network


def check_output_size(network, channels, size):
    """The raw output has twice the channels of the input, as it was built, and its size."""
    out = network(torch.randn(2, channels, size, size), torch.tensor([0.0, 999.0]))
    assert out.shape == (2, 2 * channels, size, size)
    assert bool(out.isfinite().all())


def check_samples_are_apart(network, size, labels, least=1e-4):
    """The output of a sample depends on its own image, its own time and, with labels, its own label alone."""
    given = [torch.randn(3, 1, size, size), torch.tensor([10.0, 500.0, 990.0])]
    one = torch.eye(3)[1]
    changed = [given[0] + one[:, None, None, None] * torch.rand(size, size), given[1] + one]
    if labels:
        given.append(torch.tensor([0, 1, 2]))
        changed.append(torch.tensor([0, 3, 2]))
    before = network.eval()(*given)
    for place, value in enumerate(changed):
        after = network(*given[:place], value, *given[place + 1 :])
        difference = (after - before).abs().amax((1, 2, 3))
        assert difference[1] > least
        assert difference[[0, 2]].max() < 1e-5


def check_it_starts_asleep_and_wakes(make):
    """At first the output is 0; with other weights in the place of the zeros, every weight has a gradient.

    Args:
        make: makes the network, which takes labels of three classes.
    """
    given = torch.randn(2, 1, 16, 16), torch.tensor([1.0, 9.0]), torch.tensor([0, 3])
    assert not make()(*given).any()
    network = awaken(make())
    network(*given).square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.any()) for p in network.parameters())


@contextmanager
def bfloat16_by_default():
    """Let new tensors be bfloat16 where nothing is said, as Lightning does in a step with precision=bf16-true."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check_dropout(dropped, whole, share):
    """What is dropped is zero, as large a share as was asked for, and what is left makes up for it."""
    left = dropped != 0
    assert 1 - float(left.float().mean()) == pytest.approx(share, abs=0.03)
    torch.testing.assert_close(dropped[left], whole[left] / (1 - share), rtol=1e-4, atol=1e-5)
