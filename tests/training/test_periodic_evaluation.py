"""Evaluations while training: they are logged, and training does not notice them."""

import csv

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.runs.train import train
from diffusion_lab.training.periodic_evaluation import PeriodicEvaluation

JUDGED = ("evaluation=recognition", "evaluation.recognition.members=1", "evaluation.recognition.hidden=8")


def test_evaluations_are_logged_every_few_epochs_and_change_no_loss(tiny):
    three = (*JUDGED, "trainer.max_epochs=3")
    folder = train(tiny(*three, "callbacks.evaluation.every_n_epochs=1"), [])
    rows = list(csv.DictReader((folder.path / "csv" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["evaluation/recognition/samples"]] == ["4", "8"]
    other = train(tiny(*three), [])
    files = [one.path / "step_losses.f32" for one in (folder, other)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (folder.path / "evaluations").exists()


def test_an_evaluation_that_cannot_be_made_does_not_end_training(capsys):
    def fails(*_):
        raise LabError("too early")

    PeriodicEvaluation(fails).act(None, 1, 7)
    assert "no evaluation after 7 steps: too early" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["every_n_epochs", "num_samples", "seeds"])
def test_numbers_out_of_range_are_refused_by_their_key(key):
    with pytest.raises(ValueError, match=rf"callbacks\.evaluation\.{key} must be at least"):
        PeriodicEvaluation(print, **{key: -1})
