"""Whole runs, as a person and as a program hear of them."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from lightning_utilities.core.imports import RequirementCache

from conftest import TINY
from diffusion_lab.console import loss
from diffusion_lab.errors import LabError
from diffusion_lab.evaluation import Evaluation, Result
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train
from diffusion_lab.training import progress, time_estimate

TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"


def heard(capsys):
    """The events of stdout, every line of which must be one, and stderr."""
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


class Brightness(Evaluation):
    """An evaluation that the lab knows nothing of."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def check(self, data):
        pass

    def __call__(self, subject):
        (draw,), (real, _) = subject.draws(), subject.data.split("test")
        assert draw.items.shape[1:] == real.shape[1:]
        return BrightnessResult(self.scale * draw.items.mean().item(), self.scale * real.mean().item())


class BrightnessResult(Result):
    def __init__(self, samples, real):
        self.samples, self.real = samples, real

    def as_dict(self):
        return {"samples": self.samples, "real": self.real}

    def summary(self):
        return f"the samples' mean is {self.samples:.3f}"


def test_a_program_hears_of_start_epochs_and_end_and_nothing_else(tiny, capsys):
    folder = train(tiny("console=json"), [])
    events, err = heard(capsys)
    assert err == ""
    assert [event["event"] for event in events] == ["start", "epoch", "epoch", "note", "end"]
    assert {event["run_folder"] for event in events} == {str(folder.path)}
    start, first, second, _, end = events
    assert start["network"]["parameters"] == 7601
    assert start["steps"] == {"total": 8, "per_epoch": 4, "epochs": 2}
    recorded = folder.read_json("metrics.json")
    for event, row in zip((first, second), recorded["epochs"], strict=True):
        assert {key: event[key] for key in row} == row  # to the last digit
    assert end["metrics"]["val/loss"] == recorded["epochs"][-1]["val/loss"]
    assert end["metrics"]["step"] == 8
    assert [Path(path).name for path in end["checkpoints"]] == ["best.ckpt", "last.ckpt", "step_00000004.ckpt"]
    for paths in ("figures", "samples", "checkpoints"):
        assert all(Path(path).is_file() for path in end[paths])
    assert end["commands"].keys() == {"sample", "tensorboard"}
    command = shlex.split(end["commands"]["sample"])
    assert Path(command[2].removeprefix("run_dir=")).resolve() == folder.path


def test_a_person_sees_a_table_epochs_an_end_and_two_commands(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = train(tiny("evaluation=recognition", "evaluation.recognition.members=1"), [])
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    shown = f"tiny/{folder.path.name}"
    assert [line.split()[0] for line in lines[:9]] == [
        "data", "network", "process", "objective", "optimizer", "device", "precision", "steps", "run",
    ]  # fmt: skip
    assert lines[8] == f"run folder  {shown}"
    assert lines[9].startswith("epoch 1/2  train 0.")
    assert lines[10].startswith("epoch 2/2  train 0.")
    assert lines[11] == "drawing 9 samples"
    assert lines[13].startswith("read with more than 90% confidence: ")
    recorded = folder.read_json("metrics.json")["epochs"][-1]
    assert lines[15].startswith(
        f"training loss {loss(recorded['train/loss'])}, validation loss {loss(recorded['val/loss'])}, in "
    )
    assert lines[-2].endswith(f"sample.py run_dir={shown} num_samples=64 seed=7")
    assert lines[-1] == "tensorboard --logdir ."
    assert f"checkpoints  {shown}/checkpoints: best.ckpt, last.ckpt, step_00000004.ckpt" in lines


def test_quiet_says_where_and_no_more(tiny, capsys):
    folder = train(tiny("console=quiet"), [])
    assert capsys.readouterr() == (f"{folder.path}\n", "")


def test_without_tensorboard_its_command_is_not_advised(tiny, capsys):
    train(tiny("console=json", "logger=csv"), [])
    events, _ = heard(capsys)
    assert events[-1]["commands"].keys() == {"sample"}


def test_an_error_is_told_to_a_program_too(tiny, capsys):
    with pytest.raises(LabError):
        train(tiny("console=json", "optimizer.lr=1e30"), [])
    events, _ = heard(capsys)
    assert [event["event"] for event in events] == ["start", "failed"]
    assert events[1]["text"].startswith("the training loss was not a finite number at step ")
    with pytest.raises(LabError):
        train(tiny("console=json", "network.base_channels=12"), [])
    (event,), _ = heard(capsys)
    assert event["event"] == "failed"
    assert "network.base_channels" in event["text"]


@pytest.mark.slow
def test_how_a_run_speaks_can_change_when_it_is_resumed(tiny, capsys):
    folder = train(tiny(), [])
    typed = [f"resume={folder.path}", "console=json", "trainer.max_epochs=3"]
    capsys.readouterr()
    train(tiny(*typed), typed)
    events, _ = heard(capsys)
    assert [(event["event"], event.get("epoch")) for event in events] == [
        ("start", None), ("epoch", 3), ("note", None), ("end", None),
    ]  # fmt: skip
    assert "console=json" not in (folder.path / "overrides.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "total"),
    [
        ((), 8),
        (("trainer.max_epochs=null", "trainer.max_steps=7"), 7),
        (("trainer.limit_train_batches=3",), 6),
        (("trainer.limit_train_batches=4", "trainer.accumulate_grad_batches=2"), 4),
    ],
)
def test_the_estimate_is_told_once_and_knows_how_many_steps_there_are(tiny, capsys, monkeypatch, overrides, total):
    begun = []

    class Watched(time_estimate.Estimate):
        def __init__(self, *arguments):
            begun.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(progress, "Estimate", Watched)
    for name, value in (("WARM_UP", 1), ("STEPS", 1), ("SECONDS", 0.0)):
        monkeypatch.setattr(time_estimate, name, value)
    train(tiny("console=json", *overrides), [])
    events, _ = heard(capsys)
    (told,) = [event for event in events if event["event"] == "estimate"]
    assert begun == [(0, total)]
    assert told["step"] == 2
    assert told["seconds"] >= (total - 2) / told["steps_per_second"] > 0


@pytest.mark.slow
def test_the_estimate_of_a_resumed_run_begins_where_it_stands(tiny, monkeypatch):
    folder = train(tiny(), [])
    begun = []
    monkeypatch.setattr(
        progress, "Estimate", lambda *arguments: begun.append(arguments) or time_estimate.Estimate(*arguments)
    )
    typed = [f"resume={folder.path}", "trainer.max_epochs=5"]
    train(tiny(*typed), typed)
    assert begun == [(8, 20)]


def test_any_number_of_evaluations_is_asked_and_each_says_its_line(tiny, capsys):
    cfg = tiny("evaluation=recognition", "evaluation.recognition.members=1")
    cfg.evaluation["brightness"] = {"_target_": f"{__name__}.Brightness", "scale": 0.5}
    folder = train(cfg, [])
    metrics = folder.read_json("metrics.json")
    assert metrics["brightness"].keys() == {"samples", "real"}
    assert metrics["brightness"]["real"] < 0  # more paper than ink
    assert {"samples", "real", "shuffled", "accuracy", "classes"} == metrics["recognition"].keys()
    said = capsys.readouterr().out
    assert f"the samples' mean is {metrics['brightness']['samples']:.3f}\n" in said
    assert "read with more than 90% confidence: " in said


@pytest.mark.parametrize(("logger", "available"), [("wandb", "_WANDB_AVAILABLE"), ("mlflow", "_MLFLOW_AVAILABLE")])
def test_a_logger_that_is_not_installed_ends_in_the_command_that_installs_it(
    tiny, tmp_path, monkeypatch, logger, available
):
    monkeypatch.setattr(f"pytorch_lightning.loggers.{logger}.{available}", RequirementCache(f"no-such-{logger}>=1.0"))
    package = f"no-such-{logger}"
    with pytest.raises(LabError, match=f"^logger={logger} needs the package {package}: pip install {package}$"):
        train(tiny(f"logger={logger}"), [])
    assert list(tmp_path.iterdir()) == []


def test_only_the_configs_know_of_the_optional_loggers():
    source = Path(train.__globals__["__file__"]).parents[1]
    for path in source.rglob("*.py"):
        text = path.read_text()
        assert "import wandb" not in text
        assert "import mlflow" not in text
        assert "from wandb" not in text
        assert "from mlflow" not in text


def test_samples_are_announced_in_each_way(tiny, settings, capsys):
    run_dir = train(tiny("console=quiet"), []).path
    capsys.readouterr()
    typed = (f"run_dir={run_dir}", "num_samples=3")
    where = sample(settings(*typed, "console=json", config_name="sample"))
    (event,), err = heard(capsys)
    assert err == ""
    assert (event["event"], event["path"], event["num_samples"], event["step"]) == ("end", str(where), 3, 8)
    assert event["files"] == [str(where / name) for name in ("samples.npy", "draw.json", "grid.png")]
    sample(settings(*typed, "console=quiet", config_name="sample"))
    assert capsys.readouterr() == (f"{where}\n", "")
    sample(settings(*typed, config_name="sample"))
    assert capsys.readouterr().out.endswith(": samples.npy, draw.json, grid.png; 5 network evaluations each\n")
    with pytest.raises(LabError):
        sample(settings(*typed, "console=json", "checkpoint=other", config_name="sample"))
    (event,), _ = heard(capsys)
    assert event["event"] == "failed"


@pytest.mark.slow
def test_a_program_that_starts_the_script_reads_events_alone(tmp_path):
    """Profiler, two processes and half precision: nobody else writes to stdout, and nobody warns."""
    hard = ("console=json", "debug=profiler", "trainer=ddp_cpu", "trainer.precision=bf16-mixed")
    command = [sys.executable, "-W", "default", TRAIN, *TINY, f"paths.output_dir={tmp_path}", *hard]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=110)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    # A note more says that half precision is slow here, if it is when it is timed.
    assert [event["event"] for event in events if event["event"] != "note"] == ["start", "epoch", "epoch", "end"]
    assert events[0]["device"]["processes"] == 2
    (profile, *_) = events[-1]["profile"]
    assert "run_training_epoch" in Path(profile).read_text(encoding="utf-8")
