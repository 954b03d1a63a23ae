"""What was chosen beside what came of it."""

import json
import urllib.request

import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger

from conftest import TINY
from diffusion_lab.errors import RunInterrupted
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs import hparams
from diffusion_lab.runs.train import train
from diffusion_lab.training.telemetry import Telemetry
from tensorboard_runs import events, row, served, sweep, typed


def choices(*overrides):
    def chosen(settings, overrides, options):
        return hparams.hyperparameters(settings.as_node(), overrides, options)

    return typed(*overrides, then=chosen)


def test_the_option_of_each_group_is_a_choice_but_for_those_that_decide_nothing():
    chosen = choices("schedule=cosine", "evaluation=recognition")
    assert chosen["schedule"] == "cosine"
    assert chosen["evaluation"] == "recognition"
    assert chosen["network"] == "simple_unet"
    assert chosen["experiment"] == "none"
    assert not {"paths", "logger", "console"} & chosen.keys()


def test_what_people_compare_is_there_without_being_typed():
    chosen = choices()
    expected = {
        "seed": 42, "data.batch_size": 128, "optimizer.lr": 2e-4, "schedule.steps": 1000,
        "network.base_channels": 32, "network.channel_multipliers": "[1, 2]", "network.time_dim": 64,
        "sampler.variance": "beta_tilde", "trainer.precision": "32-true",
        "trainer.max_epochs": 10, "trainer.max_steps": -1,
    }  # fmt: skip
    assert expected.items() <= chosen.items()
    assert not {"optimizer.weight_decay", "sampler.num_steps"} & chosen.keys()  # the second is null


@pytest.mark.parametrize(
    ("key", "values", "column"),
    [
        ("trainer.gradient_clip_val", ("null", "1.0", "2"), [None, 1.0, 2]),
        ("trainer.max_epochs", ("null", "3"), [None, 3]),
        ("trainer.limit_val_batches", ("2", "0.5"), [2, 0.5]),
        ("trainer.devices", ("1", "auto"), ["1", "auto"]),
        ("trainer.profiler", ("null", "simple"), ["null", "simple"]),
        ("+trainer.detect_anomaly", ("true", "false"), [True, False]),
        ("optimizer.lr", ("1", "1e-3"), [1, 1e-3]),
        ("network.channel_multipliers", ("[1]", "[1,2]"), ["[1]", "[1, 2]"]),
        ("sampler.num_steps", ("null", "50"), [None, 50]),
        ("compile", ("true", "false"), [True, False]),
    ],
)
def test_a_column_has_one_type_whatever_its_runs_have_there(key, values, column):
    """TensorBoard's filters lose runs otherwise; null among numbers is left out."""
    assert [choices(f"{key}={value}").get(key.lstrip("+")) for value in values] == column


def test_what_was_typed_is_there_as_it_was_resolved():
    chosen = choices(
        "data=digits", "name=other", "optimizer.weight_decay=0.5", "compile=true", "+trainer.benchmark=false",
        "network.time_dim=16", "callbacks.early_stopping.patience=2", "callbacks=early_stopping",
        "paths.output_dir=/elsewhere", "tags=[wide]", "notes=first try",
    )  # fmt: skip
    expected = {
        "data": "digits", "optimizer.weight_decay": 0.5, "compile": True, "trainer.benchmark": False,
        "network.time_dim": 16, "callbacks.early_stopping.patience": 2, "callbacks": "early_stopping",
    }  # fmt: skip
    assert expected.items() <= chosen.items()
    assert not any("elsewhere" in str(value) for value in chosen.values())
    assert not {"name", "tags", "notes"} & chosen.keys()
    assert "data.image_size" not in chosen


def test_every_choice_is_flat_and_plain():
    for experiment in ("quickstart", "ddpm_mnist"):
        for value in choices(f"experiment={experiment}", "optimizer.betas=[0.5,0.9]").values():
            assert isinstance(value, str | int | float | bool)


@pytest.mark.slow
def test_a_finished_run_has_its_choices_beside_its_metrics(tmp_path):
    folder = typed(*TINY, "evaluation=recognition", f"paths.output_dir={tmp_path}")
    assert row(folder)["schedule"] == "linear"
    assert row(folder)["network.base_channels"] == 8
    metrics, read = folder.read_json("metrics.json"), events(folder)
    final = {tag: read.Scalars(tag) for tag in read.Tags()["scalars"] if tag.startswith("Final/")}
    assert all(len(points) == 1 and points[0].step == 8 for points in final.values())
    values = {tag.removeprefix("Final/"): points[0].value for tag, points in final.items()}
    last = metrics["epochs"][-1]
    assert values["loss_train"] == pytest.approx(last["train/loss"])
    assert values["loss_val"] == pytest.approx(last["val/loss"])
    assert values["loss_best_val"] == pytest.approx(min(epoch["val/loss"] for epoch in metrics["epochs"]))
    assert values["recognition"] == pytest.approx(metrics["recognition"]["samples"])
    assert values["wall_time_s"] > 0
    assert values["speed_images_per_s"] > 0
    assert read.Scalars("evaluation/recognition/real")[0].value == pytest.approx(metrics["recognition"]["real"])


class Stop(pl.Callback):
    """As Ctrl-C does, in the second epoch."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 5:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_only_a_run_that_has_finished_has_a_row_and_a_resumed_one_has_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Telemetry, "on_train_batch_start", Stop.on_train_batch_start)
        with pytest.raises(RunInterrupted):
            typed(*TINY, f"paths.output_dir={tmp_path}")
    (path,) = (tmp_path / "tiny").iterdir()
    folder = RunFolder(path)
    assert row(folder) is None

    typed(f"resume={path}")
    assert row(folder)["trainer.max_epochs"] == 2
    assert row(folder)["network.base_channels"] == 8

    with monkeypatch.context() as patch:
        patch.setattr("diffusion_lab.runs.train.figures_after_training", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            typed(f"resume={path}", "trainer.max_epochs=3")
    assert row(folder) is None

    typed(f"resume={path}", "trainer.max_epochs=4")
    assert row(folder)["trainer.max_epochs"] == 4
    assert row(folder)["schedule"] == "linear"
    assert [point.step for point in events(folder).Scalars("Final/loss_val")] == [16]
    assert len(list((path / "tensorboard").glob("*.hparams"))) == 1


class Other(Logger):
    """A tracker that has an API of its own."""

    name, version = "other", 0

    def __init__(self):
        super().__init__()
        self.told = []

    def log_hyperparams(self, params):
        self.told.append(params)

    def log_metrics(self, metrics, step=None):
        self.told.append((metrics, step))


def test_other_loggers_are_told_by_their_own_methods(tmp_path):
    other = Other()
    trainer = pl.Trainer(logger=other, enable_checkpointing=False, default_root_dir=tmp_path, accelerator="cpu")
    chosen = {"schedule": "cosine"}
    hparams.log_config(trainer.loggers, {}, [], chosen)
    hparams.log_results(trainer, chosen, {"epochs": [{"val/loss": 2.0}, {"val/loss": 1.0}], "fid": {"fid": 3.0}}, 60.0)
    final = {"Final/loss_val": 1.0, "Final/fid": 3.0, "evaluation/fid/fid": 3.0, "Final/wall_time_s": 60.0}
    assert other.told == [chosen, (final, 0)]


def ask(address, path, body):
    request = urllib.request.Request(
        f"{address}/data/plugin/hparams/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


@pytest.mark.full
def test_a_sweep_is_read_at_a_glance(tmp_path):
    """As TensorBoard's page asks: it shows the first five choices and metrics."""
    folders = sweep(tmp_path)
    same = ("callbacks.samples.every_n_epochs=1", f"paths.output_dir={tmp_path}")
    typed(*TINY, *same, "lr_schedule.warmup_steps=7", "name=another")
    with served(str(tmp_path)) as address:
        experiment = ask(address, "experiment", {"experimentName": ""})
        names = [info["name"] for info in experiment["hparamInfos"]]
        assert names[:2] == ["network.base_channels", "schedule"]  # what differs comes first
        assert "lr_schedule.warmup_steps" in names  # though only one run has it
        shown = [info["name"]["tag"] for info in experiment["metricInfos"][:5]]
        assert shown == [
            f"Final/{name}" for name in ("loss_best_val", "loss_train", "loss_val", "speed_images_per_s", "wall_time_s")
        ]
        wanted = {
            "experimentName": "", "colParams": [{"hparam": name} for name in names], "startIndex": 0, "sliceSize": 10,
            "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        }  # fmt: skip
        groups = ask(address, "session_groups", wanted)["sessionGroups"]
    rows = {group["name"]: group["hparams"] for group in groups}
    assert len(rows) == 5
    for folder, (schedule, channels) in zip(
        folders, [("linear", 8), ("linear", 16), ("cosine", 8), ("cosine", 16)], strict=True
    ):
        (mine,) = (hparams for name, hparams in rows.items() if folder.path.name in name)
        assert (mine["schedule"], mine["network.base_channels"]) == (schedule, channels)


def test_the_options_are_recorded_for_whoever_resumes_the_run(tmp_path, settings):
    folder = train(settings(*TINY, f"paths.output_dir={tmp_path}"), [], {"schedule": "linear", "hydra/launcher": "x"})
    assert folder.read_json("manifest.json")["options"] == {"schedule": "linear"}
