"""Tensors above a limit are refused before they take memory."""

import pytest
import torch
from torch import nn

from diffusion_lab.machine.allocation_limit import allocation_limit

BYTES = {
    "empty": (lambda: torch.empty(1000), 4000),
    "zeros": (lambda: torch.zeros(10, 100, dtype=torch.float64), 8000),
    "linspace": (lambda: torch.linspace(0, 1, 1000, dtype=torch.float64), 8000),
    "logspace": (lambda: torch.logspace(0, 1, 1000), 4000),
    "arange": (lambda: torch.arange(0, 2000, 2), 8000),
    "full": (lambda: torch.full((1000,), 2.0), 4000),
    "eye": (lambda: torch.eye(100), 40_000),
    "randn": (lambda: torch.randn(1000), 4000),
    "several": (lambda: [torch.empty(1000) for _ in range(3)], 12_000),
    "layer": (lambda: nn.Linear(100, 50), 20_200),
}


@pytest.mark.parametrize("name", BYTES)
def test_tensors_are_made_up_to_the_limit_and_refused_above_it(name):
    make, size = BYTES[name]
    with allocation_limit(size):
        make()
    with pytest.raises(MemoryError, match="GB that they may"), allocation_limit(size - 1, "they may"):
        make()


@pytest.mark.parametrize("make", [torch.empty, torch.zeros, torch.arange, lambda n: torch.linspace(0, 1, n)])
def test_what_no_machine_has_is_refused_without_being_tried(make):
    with pytest.raises(MemoryError, match="that this machine has"), allocation_limit():
        make(10**14)


def test_the_limit_changes_no_random_number():
    torch.manual_seed(0)
    weights = nn.Conv2d(3, 5, 3).weight
    torch.manual_seed(0)
    with allocation_limit(10**6):
        again = nn.Conv2d(3, 5, 3).weight
    assert torch.equal(weights, again)


def test_what_is_computed_from_tensors_does_not_count():
    with allocation_limit(4000):
        x = torch.ones(1000)
        for _ in range(10):
            x = x * 0.5
    assert torch.equal(x, torch.full((1000,), 2.0**-10))
