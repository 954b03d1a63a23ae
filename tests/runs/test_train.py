"""Whole runs, on a network of a few hundred parameters."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from conftest import TINY
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.runs import load_run
from diffusion_lab.runs.train import train

TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"


class InterruptAt(pl.Callback):
    """Sends Ctrl-C to this process in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def run(cfg, overrides=()):
    return train(cfg, list(overrides))


def losses(folder, column="train/loss_step"):
    with (folder.path / "csv" / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


def weights(folder):
    return folder.read_json("manifest.json")["weights"]


def status(path):
    return json.loads((path / "manifest.json").read_text())["status"]


def interrupted(cfg, step):
    """The folder of a run that Ctrl-C stopped."""
    stop = {"_target_": "runs_interrupt.InterruptAt", "step": step}
    cfg = replace(cfg, callbacks={"stop": stop, **cfg.callbacks})
    sys.modules["runs_interrupt"] = sys.modules[__name__]
    with pytest.raises(RunInterrupted, match="resume="):
        run(cfg)
    (path,) = (Path(cfg.paths.output_dir) / "tiny").iterdir()
    assert status(path) == "interrupted"
    # The interrupting callback is this test's; a run that a person interrupts has none.
    text = (
        (path / "config.yaml")
        .read_text()
        .replace(f"  stop:\n    _target_: runs_interrupt.InterruptAt\n    step: {step}\n", "")
    )
    (path / "config.yaml").write_text(text)
    return path


def test_a_run_leaves_everything_in_its_folder(tiny):
    folder = run(tiny("evaluation=recognition"))
    written = {str(p.relative_to(folder.path)) for p in folder.path.rglob("*") if p.is_file()}
    figures = ("schedule", "schedules", "forward", "loss", "samples", "denoising", "real_and_generated")
    assert {f"figures/{name}.png" for name in figures} <= written
    assert {
        "config.yaml", "overrides.yaml", "manifest.json", "metrics.json", "checkpoints/last.ckpt",
        "checkpoints/best.ckpt", "csv/metrics.csv", "samples/final.npy", "samples/final.json", "figures/denoising.gif",
    } <= written  # fmt: skip
    metrics = folder.read_json("metrics.json")
    assert [row["epoch"] for row in metrics["epochs"]] == [1, 2]
    assert metrics["epochs"][1]["train/loss"] < metrics["epochs"][0]["train/loss"]
    assert {"samples", "real", "shuffled"} <= metrics["recognition"].keys()
    assert status(folder.path) == "finished"
    assert len(losses(folder)) == 8


def test_one_seed_gives_the_same_losses_and_weights_bit_for_bit(tiny):
    first, second = run(tiny()), run(tiny())
    assert first.path != second.path
    assert losses(first) == losses(second)
    assert weights(first) == weights(second)
    assert weights(run(tiny("seed=43"))) != weights(first)


@pytest.mark.slow
def test_logging_validating_and_sampling_at_other_times_changes_no_training_loss(tiny):
    plain = run(tiny())
    busy = run(
        tiny(
            "callbacks.samples.every_n_epochs=1",
            "callbacks.samples.num_samples=3",
            "callbacks.checkpoints.every_n_steps=2",
            "trainer.val_check_interval=2",
            "sampling.num_samples=4",
        )
    )
    assert losses(busy) == losses(plain)
    assert weights(busy) == weights(plain)


@pytest.mark.slow
def test_accumulation_cuts_the_batch_and_leaves_the_result(tiny):
    """250 images in batches of 64: the last one, of 58, is cut into three parts of unequal size."""
    # A large eps keeps Adam from turning the rounding of a vanishing gradient into a step.
    damped = ("optimizer.eps=1", "optimizer.lr=1")
    whole, parts = run(tiny(*damped)), run(tiny(*damped, "trainer.accumulate_grad_batches=3"))
    assert losses(parts, "train/loss_epoch") == pytest.approx(losses(whole, "train/loss_epoch"), rel=1e-5)
    one, other = (load_run(folder.path).parts.network.state_dict() for folder in (whole, parts))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.full), 3, pytest.param(5, marks=pytest.mark.full)])
def test_an_interrupted_run_goes_on_to_where_it_would_have_come(tiny, tmp_path, step):
    """Mid-epoch, in the last step of an epoch, and in the second epoch."""
    path = interrupted(tiny(f"paths.output_dir={tmp_path}/stopped"), step)
    resumed = run(tiny(f"resume={path}"), [f"resume={path}"])
    assert resumed.path == path
    assert status(path) == "finished"
    whole = run(tiny(f"paths.output_dir={tmp_path}/whole"))
    assert losses(resumed) == losses(whole)
    assert weights(resumed) == weights(whole)
    by_time = "train/loss_by_t/0.00-0.25"
    assert losses(resumed, by_time) == pytest.approx(losses(whole, by_time))
    assert [r["epoch"] for r in resumed.read_json("metrics.json")["epochs"]] == [1, 2]
    assert len(resumed.read_json("manifest.json")["sessions"]) == 2


@pytest.mark.slow
def test_a_finished_run_trains_on_only_if_there_is_more_to_do(tiny):
    folder = run(tiny())
    with pytest.raises(LabError, match=r"trainer\.max_epochs"):
        run(tiny(f"resume={folder.path}"), [f"resume={folder.path}"])
    with pytest.raises(LabError, match=r"optimizer\.lr=1: a resumed run goes on with its own config"):
        run(tiny(f"resume={folder.path}"), [f"resume={folder.path}", "optimizer.lr=1"])
    longer = run(tiny(f"resume={folder.path}"), [f"resume={folder.path}", "trainer.max_epochs=3"])
    assert len(losses(longer)) == 12
    assert weights(longer) == weights(run(tiny("trainer.max_epochs=3")))


@pytest.mark.slow
def test_init_from_starts_from_another_runs_weights(tiny):
    folder = run(tiny())
    same = run(tiny(f"init_from={folder.path}", "optimizer.lr=0", "seed=7"))
    assert weights(same) == weights(folder)
    with pytest.raises(LabError, match="is of another network"):
        run(tiny(f"init_from={folder.path}", "network.base_channels=16"))


def test_a_loss_that_is_no_number_ends_the_run_with_the_last_good_weights(tiny, tmp_path):
    with pytest.raises(LabError, match=r"not a finite number at step \d+, with the learning rate .*last\.ckpt"):
        run(tiny("optimizer.lr=1e30", "callbacks.checkpoints.every_n_steps=1"))
    (path,) = (tmp_path / "tiny").iterdir()
    assert status(path) == "failed"
    state = torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_checkpoint_holds_the_network_and_no_schedule_tables(tiny):
    folder = run(tiny())
    for name in ("last", "best"):
        state = torch.load(folder.path / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert all(key.startswith("network.") for key in state["state_dict"])
        assert not any(value.numel() in (1000, 1001) for value in state["state_dict"].values())


def test_what_is_left_out_of_the_trainer_is_lightning_s_own_choice(tiny):
    folder = run(tiny("~trainer.enable_progress_bar", "~trainer.precision", "~trainer.strategy", "~trainer.devices"))
    assert status(folder.path) == "finished"


def test_early_stopping_stops(tiny):
    folder = run(
        tiny(
            "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "callbacks.samples.every_n_epochs=0",
            "optimizer.lr=0", "trainer.max_epochs=9",
        )
    )  # fmt: skip
    assert len(folder.read_json("metrics.json")["epochs"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("option", ["fast", "overfit", "profiler"])
def test_debug_options_run(tiny, option):
    extra = ["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1"] if option == "overfit" else []
    folder = run(tiny(f"debug={option}", "sampler.num_steps=5", "sampling.num_samples=2", *extra))
    assert status(folder.path) == "finished"


def test_what_cannot_be_leaves_no_folder(tiny, tmp_path):
    for override in ("network.base_channels=12", "+trainer.speed=9", "callbacks.checkpoints.every_n_epochs=0"):
        with pytest.raises(LabError, match=override.lstrip("+").split("=")[0]):
            run(tiny(override))
    assert list(tmp_path.rglob("config.yaml")) == []


def script(tmp_path, *overrides):
    """train.py as a person starts it; returns the folders of its runs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, TRAIN, *overrides[:1], *TINY, f"paths.output_dir={tmp_path}", *overrides[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return sorted((tmp_path / "tiny").iterdir())


@pytest.mark.full
def test_a_sweep_gives_each_job_a_folder_and_two_processes_see_what_one_would(tmp_path):
    """`-m` with two gloo processes: children must not start the sweep again."""
    folders = script(tmp_path, "-m", "trainer=ddp_cpu,cpu", "trainer.max_epochs=1")
    assert len(folders) == 2
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    rows = [run["epochs"] for run in metrics]
    assert rows[0][0]["train/loss"] == pytest.approx(rows[1][0]["train/loss"], rel=1e-5)
    assert rows[0][0]["val/loss"] == pytest.approx(rows[1][0]["val/loss"], rel=1e-5)
    assert rows[0][0]["step"] == rows[1][0]["step"] == 4
    by_time = [{k: v for k, v in m.items() if "loss_by_t" in k} for m in metrics]
    assert len(by_time[0]) == 4
    assert by_time[0] == pytest.approx(by_time[1], rel=1e-5)
