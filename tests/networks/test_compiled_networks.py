"""What `compile=true` asks of every network."""

import json
import math
import subprocess
import sys

import pytest
import torch

from diffusion_lab.config.build import build
from diffusion_lab.config.tree import conf_dir, read_option
from diffusion_lab.noise import Noise
from network_checks import awaken
from option_recipes import of_tokens, recipe
from test_combinations import SMALL

#: Data that is small, by whether it is tokens.
DATA = {
    True: ("data.length=16", "data.limit_train=128", "data.batch_size=32"),
    False: ("data=digits", "data.image_size=8", "data.limit_train=128", "data.batch_size=32"),
}


def small(name):
    """The overrides of a network that is small, with labels where it takes them and the data has some."""
    option = f"network={name}"
    labels = () if name == "simple_unet" or of_tokens(option) else ("network.labels=true",)
    return *recipe(option), *DATA[of_tokens(option)], *SMALL[name], *labels


NETWORKS = {name: small(name) for name in SMALL}


def inputs(parts):
    labels = None if parts.pipeline.labels is None else torch.tensor([0, 3])
    noise = Noise(torch.arange(2), 0)
    return parts.process.prior(parts.pipeline.shape, noise), torch.tensor([3.0, 700.0]), labels


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_one_graph(network, settings):
    dropout = ("network.dropout=0.1",) if "dropout" in read_option("network", network) else ()
    parts = build(settings(*NETWORKS[network], *dropout))
    torch._dynamo.reset()
    found = torch._dynamo.explain(parts.network)(*inputs(parts))
    torch._dynamo.reset()
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_compiled_network_has_the_outputs_and_gradients_of_an_eager_one(network, settings):
    torch.manual_seed(0)
    parts = build(settings(*NETWORKS[network]))
    given, variables = inputs(parts), list(awaken(parts.network).parameters())
    compiled = torch.compile(parts.network)
    outputs = [network(*given) for network in (parts.network, compiled)]
    target = torch.randn(outputs[0].shape)
    gradients = [torch.autograd.grad((out - target).square().sum(), variables) for out in outputs]
    for one, other in zip((outputs[0], *gradients[0]), (outputs[1], *gradients[1]), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("trainer", "precision"), [("cpu", "bf16-true"), ("ddp_cpu", "bf16-mixed")])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_trains_compiled_and_in_bfloat16_alone_and_in_two_processes(network, trainer, precision, tmp_path):
    typed = (
        *NETWORKS[network], f"trainer={trainer}", f"trainer.precision={precision}", "compile=true",
        "trainer.max_steps=3",
        "sampler.num_steps=2", "sampling.num_samples=2", "callbacks.samples.every_n_epochs=0", "console=json",
        f"paths.output_dir={tmp_path}",
    )  # fmt: skip
    script = conf_dir().parent / "scripts" / "train.py"
    ended = subprocess.run([sys.executable, script, *typed], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[-1]["event"] == "end"
    assert events[-1]["metrics"]["step"] == 3
    assert math.isfinite(events[-1]["metrics"]["train/loss"])
