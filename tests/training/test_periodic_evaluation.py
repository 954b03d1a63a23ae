"""Evaluations while training: they are logged, and training does not notice them."""

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.bounded_read import read_json
from diffusion_lab.runs.stored_draws import StoredDraws
from diffusion_lab.runs.train import train
from diffusion_lab.training.periodic_evaluation import PeriodicEvaluation

JUDGED = ("evaluation=recognition", "evaluation.recognition.members=1", "evaluation.recognition.hidden=8")


@pytest.mark.slow
def test_evaluations_are_logged_every_few_epochs_and_change_no_loss(tiny):
    three = (*JUDGED, "trainer.max_epochs=3")
    folder = train(tiny(*three, "callbacks.evaluation.every_n_epochs=1"), [])
    rows = list(csv.DictReader((folder.path / "csv" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["evaluation/recognition/samples"]] == ["4", "8"]
    other = train(tiny(*three), [])
    files = [one.path / "step_losses.f32" for one in (folder, other)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (folder.path / "evaluations").exists()


@pytest.mark.slow
def test_ctrl_c_stops_an_evaluation_after_the_sampling_step_and_training_goes_on_from_there(tiny, monkeypatch):
    advance, steps = StoredDraws.draw, []

    def counted(stored, *arguments):
        on_step = stored.on_step

        def step(done):
            steps.append(done.number)
            if len(steps) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            on_step(done)

        stored.on_step = step
        advance(stored, *arguments)

    monkeypatch.setattr(StoredDraws, "draw", counted)
    evaluated = (*JUDGED, "trainer.max_epochs=3", "callbacks.evaluation.every_n_epochs=1", "sampler.num_steps=5")
    with pytest.raises(RunInterrupted):
        train(tiny(*evaluated), [])
    assert steps == [0, 1]
    (run,) = Path(tiny().paths.output_dir, "tiny").iterdir()
    assert read_json(run / "manifest.json")["status"] == "interrupted"
    assert not list((run / "evaluations").glob("draws_*"))
    whole = train(tiny(*JUDGED, "trainer.max_epochs=3", "sampler.num_steps=5"), [])
    monkeypatch.undo()
    resumed = train(replace(tiny(*evaluated), resume=str(run)), [])
    files = [one.path / "step_losses.f32" for one in (whole, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_evaluation_that_cannot_be_made_does_not_end_training(capsys):
    def fails(*_):
        raise LabError("too early")

    PeriodicEvaluation(fails).act(SimpleNamespace(callbacks=[]), 1, 7)
    assert "no evaluation after 7 steps: too early" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "least"), [("every_n_epochs", 0), ("num_samples", 1), ("seeds", 1)])
def test_numbers_out_of_range_are_refused_by_their_key(key, least):
    assert getattr(PeriodicEvaluation(print, **{key: least}), key) == least
    with pytest.raises(ValueError, match=rf"callbacks\.evaluation\.{key} must be at least {least}, got {least - 1}$"):
        PeriodicEvaluation(print, **{key: least - 1})
