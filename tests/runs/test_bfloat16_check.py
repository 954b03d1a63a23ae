"""Where bfloat16 is asked for on a CPU; what is faster here is not tested."""

import pytest
import torch

from diffusion_lab.config.build import build
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.runs import bfloat16_check
from diffusion_lab.runs.bfloat16_check import warn_of_slow_bfloat16
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train

CPU = torch.device("cpu")


@pytest.fixture
def timed(monkeypatch):
    """A function that sets the durations which every timing finds, and returns the list of timings."""

    def find(float32, bfloat16):
        seen = []

        def in_turns(one, other, size, seconds):
            one(size), other(size)
            seen.append(size)
            return [float32], [bfloat16]

        monkeypatch.setattr(bfloat16_check, "time_in_turns", in_turns)
        return seen

    return find


def weights(folder):
    return weights_hash(torch.load(folder.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_a_run_says_once_if_float32_is_faster_and_ends_in_the_same_weights(precision, tiny, timed, capsys):
    typed = (f"trainer.precision={precision}", "network.dropout=0.2")
    seen = timed(1.0, 7.5)
    warned = train(tiny(*typed), [])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "as long in bfloat16" in line]
    assert line == (
        f"Warning: trainer.precision={precision}: on this CPU the network takes 7.5 times as long in bfloat16 as in "
        "float32; trainer.precision=32-true is the faster choice for training"
    )
    timed(1.0, 0.4)
    content = train(tiny(*typed), [])
    assert "as long in bfloat16" not in capsys.readouterr().err
    assert seen == [64]
    assert weights(warned) == weights(content)


def test_a_draw_says_so_too(copy, settings, timed, capsys):
    seen = timed(1.0, 3.0)
    typed = (f"run_dir={copy.path}", "num_samples=9", "batch_size=4", "device=cpu")
    sample(settings(*typed, "precision=bf16-mixed", config_name="sample"))
    assert seen == [4]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Warning: precision=bf16-mixed: on this CPU the network takes 3 times as long")
    assert line.endswith("precision=32-true is the faster choice for sampling")


@pytest.mark.parametrize(
    ("precision", "device"), [("32-true", "cpu"), ("64-true", "cpu"), ("16-mixed", "cuda"), ("bf16-mixed", "cuda")]
)
def test_nothing_is_timed_where_the_answer_does_not_matter(precision, device, tiny, timed):
    seen = timed(1.0, 9.0)
    warn_of_slow_bfloat16(build(tiny()), precision, torch.device(device), 8, training=True)
    assert seen == []


@pytest.mark.slow
def test_a_run_that_is_resumed_keeps_its_precision_and_is_not_timed(tiny, timed):
    seen = timed(1.0, 9.0)
    folder = train(tiny("trainer.precision=bf16-mixed"), [])
    typed = [f"resume={folder.path}", "trainer.max_epochs=3"]
    train(tiny(*typed), typed)
    assert seen == [64]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("network", ["simple_unet", "unet", "dit"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_the_real_timing_changes_neither_network_nor_generator(network, precision, training, settings):
    small = {
        "simple_unet": ["network.base_channels=8"],
        "unet": ["network.base_channels=8", "network.head_channels=8", "network.labels=true"],
        "dit": ["network.width=16", "network.depth=1", "network.heads=2", "network.labels=true"],
    }
    parts = build(settings("data=digits", "data.image_size=8", f"network={network}", *small[network]))
    before, state = weights_hash(parts.network.state_dict()), torch.get_rng_state()
    warn_of_slow_bfloat16(parts, precision, CPU, 2, training)
    assert weights_hash(parts.network.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in parts.network.parameters())
    assert parts.network.training
