import ctypes

import pytest
import torch
from torch import nn

from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.compilation import compile_network


class Recorder(nn.Module):
    def compile(self, **arguments):
        self.arguments = arguments


@pytest.mark.parametrize(("device", "mode"), [("cpu", "default"), ("cuda", "reduce-overhead")])
def test_a_gpu_replays_graphs(device, mode):
    """Only the mode of compilation is checked, not what a GPU does with it."""
    network = Recorder()
    compile_network(network, torch.device(device))
    assert network.arguments == {"mode": mode}


@pytest.mark.slow
def test_a_compiled_network_keeps_the_names_of_its_weights_and_its_results():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.SiLU())
    x, names = torch.randn(2, 3), list(network.state_dict())
    expected = network(x)
    compile_network(network, torch.device("cpu"))
    torch.testing.assert_close(network(x), expected)
    assert list(network.state_dict()) == names
    assert network._compiled_call_impl is not None


def test_the_allocator_is_asked_to_keep_memory_and_nothing_happens_without_glibc(monkeypatch):
    asked = []

    class Library:
        def __init__(self, name):
            self.mallopt = lambda *arguments: asked.append(arguments)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    keep_freed_memory()
    assert asked == [(-4, 0), (-1, -1)]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
