"""Samples while training: how many are drawn, and what is said of how."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.codecs import Pixels
from diffusion_lab.errors import RunInterrupted
from diffusion_lab.parameterizations import Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClassifierFree, Pipeline, Trajectory
from diffusion_lab.schedules import LinearSchedule
from diffusion_lab.training.graceful_interrupt import GracefulInterrupt
from diffusion_lab.training.sample_grid import SampleGrid, draw_caption
from plain_network import Plain

PROCESS = Gaussian(LinearSchedule(100))


class Labelled(Plain):
    condition = "label"
    condition_dropout = 0.1


class Counted(Pixels):
    """Shows what it is given as a text: its title, and how many items are in each row."""

    def show(self, sheet):
        return f"{sheet.title}: {[len(row) for row in sheet.rows]}"


def pipeline(network, transforms=(), codec=None):
    sampler = ancestral(PROCESS, num_steps=20)
    return Pipeline(network, Eps(PROCESS), PROCESS, codec or Pixels(), sampler, transforms, (1, 2, 2), num_classes=3)


@pytest.mark.parametrize(("scale", "more"), [(None, ""), (1.5, ", guidance 1.5"), (2.0, ", guidance 2")])
def test_the_caption_says_which_run_it_is_and_how_it_was_drawn(scale, more):
    network, trajectory = Labelled(), Trajectory(frames=2, keep=1)
    made = pipeline(network, () if scale is None else (ClassifierFree(PROCESS, network, 3, scale),))
    made.draw(1, trajectory=trajectory)
    said = draw_caption(Path("outputs/digits/now"), made, 12000, trajectory)
    assert said == f"digits/now after 12,000 steps: Ancestral, 20 steps{more}"


@pytest.mark.parametrize(
    ("network", "asked", "rows", "kept"),
    [(Plain, 1, [1], 1), (Plain, 6, [6], 4), (Labelled, 1, [1, 1, 1], 3), (Labelled, 5, [2, 2, 1], 4)],
)
def test_at_least_one_of_each_class_is_drawn_and_few_are_shown_on_their_way(tmp_path, network, asked, rows, kept):
    made = pipeline(network(), codec=Counted())
    trainer = SimpleNamespace(default_root_dir=str(tmp_path / "digits" / "now"), callbacks=[], loggers=[])
    SampleGrid(made, num_samples=asked).act(trainer, epoch=3, step=1200)
    samples, denoising = (
        (tmp_path / "digits" / "now" / "figures" / f"{name}_epoch_0003.txt").read_text()
        for name in ("samples", "denoising")
    )
    assert samples == f"Samples after 1,200 steps: {rows}\n"
    caption = "digits/now after 1,200 steps: Ancestral, 20 steps"
    assert denoising == f"Denoising: from noise to samples\n{caption}: {[11] * kept}\n"


def test_the_same_noise_is_drawn_from_each_time_and_another_seed_has_another(tmp_path):
    drawn = []

    class Kept(Counted):
        def decode(self, z):
            drawn.append(super().decode(z))
            return drawn[-1]

    made = pipeline(Plain(), codec=Kept())
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), callbacks=[], loggers=[])
    samples = []
    for seed in (0, 0, 7):
        drawn.clear()
        SampleGrid(made, num_samples=2, seed=seed).act(trainer, epoch=1, step=1)
        samples.append(drawn[0])
    assert torch.equal(samples[0], made.sample(2, 0))
    assert torch.equal(samples[1], samples[0])
    assert torch.equal(samples[2], made.sample(2, 7))
    assert not torch.equal(samples[2], samples[0])


def test_a_stop_that_is_asked_for_ends_the_draw(tmp_path):
    interrupt = GracefulInterrupt()
    interrupt.requested = signal.SIGTERM
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), callbacks=[interrupt], loggers=[])
    with pytest.raises(RunInterrupted):
        SampleGrid(pipeline(Plain(), codec=Counted())).act(trainer, epoch=1, step=1200)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_diverge_give_a_warning_and_no_figures(tmp_path, capsys):
    network = Plain()
    torch.nn.init.constant_(network.weight, torch.inf)
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), callbacks=[], loggers=[])
    SampleGrid(pipeline(network, codec=Counted())).act(trainer, epoch=1, step=1200)
    assert "no samples after 1,200 steps: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_less_than_no_epochs_and_no_samples_are_refused():
    made = SampleGrid(None, every_n_epochs=0, num_samples=1)
    assert (made.every_n_epochs, made.num_samples) == (0, 1)
    for wrong in ({"every_n_epochs": -1}, {"num_samples": 0}):
        with pytest.raises(ValueError, match="must not be negative and num_samples at least 1"):
            SampleGrid(None, **wrong)
