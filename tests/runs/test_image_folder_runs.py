"""Runs on a folder of pictures that are read from disk while training: the same as in memory, and resumed exactly."""

import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
import pytorch_lightning as pl
from killed import Kill, differences, run

from conftest import TINY, save_coarsely
from diffusion_lab.config.build import build
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.evaluations import evaluate_now
from diffusion_lab.runs.load import load_run
from diffusion_lab.runs.train import train
from diffusion_lab.sampling import Draw
from diffusion_lab.training.step_losses import read_step_losses
from picture_folder import fill

FOLDER = (
    "data=image_folder", "data.flip=true", "data.batch_size=6", "data.limit_train=null", "data.validation=4",
    "data.image_size=8", "trainer.accumulate_grad_batches=2",
)  # fmt: skip
ON_DISK = ("data.in_memory=false", "data.workers=2")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """27 pictures in two classes: an epoch has four steps."""
    return fill(tmp_path_factory.mktemp("data") / "pictures", {"cat": 14, "dog": 13})


@pytest.fixture
def typed(settings, tmp_path, monkeypatch):
    """A function from the folder and overrides to the settings of a run."""
    save_coarsely(monkeypatch)
    tiny = [override for override in TINY if not override.startswith("data")]

    def of(pictures, *overrides):
        return settings(*tiny, *FOLDER, f"data.path={pictures}", f"paths.output_dir={tmp_path}/outputs", *overrides)

    return of


class At(pl.Callback):
    """Does something before a step is finished."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_before_optimizer_step(self, trainer, *_):
        if trainer.global_step == self.step:
            self.act()


def weights(folder):
    return json.loads((folder.path / "manifest.json").read_text())["weights"]


@pytest.mark.slow
def test_a_run_from_disk_that_is_stopped_moved_and_resumed_is_the_run_from_memory(typed, pictures, tmp_path):
    whole = train(typed(pictures, "data.in_memory=true", "name=whole"), [])
    assert np.load(whole.path / "samples" / "final.npy").shape == (9, 3, 8, 8)
    recorded = whole.read_config()["data"]
    assert (recorded["path"], recorded["classes"]) == (str(pictures), ["cat", "dog"])

    here = shutil.copytree(pictures, tmp_path / "here")
    with pytest.raises(RunInterrupted):
        train(typed(here, *ON_DISK, "name=stopped"), [], callbacks=[At(5, lambda: os.kill(os.getpid(), signal.SIGINT))])
    assert multiprocessing.active_children() == []
    (path,) = (tmp_path / "outputs" / "stopped").iterdir()
    here.rename(tmp_path / "moved")
    with pytest.raises(LabError, match=rf"data.path={here}: there is no such folder"):
        train(typed(here, *ON_DISK, f"resume={path}"), [f"resume={path}"])
    changes = [f"resume={path}", f"data.path={tmp_path}/moved", "data.workers=1"]
    resumed = train(typed(pictures, changes[0]), changes)
    assert multiprocessing.active_children() == []
    assert np.array_equal(read_step_losses(resumed.path), read_step_losses(whole.path))
    assert len(read_step_losses(whole.path)) == 8
    assert weights(resumed) == weights(whole)
    fingerprints = [folder.read_manifest()["fingerprint"]["data"] for folder in (resumed, whole)]
    assert fingerprints[0] == fingerprints[1]

    # Without the pictures, the run can be sampled from: the names of the classes are on record.
    (tmp_path / "moved").rename(tmp_path / "gone")
    assert load_run(resumed.path).sample(2).shape == (2, 3, 8, 8)


def test_a_picture_that_breaks_while_training_ends_the_run_in_one_line_and_its_checkpoint_is_kept(
    typed, pictures, tmp_path
):
    here = shutil.copytree(pictures, tmp_path / "here")

    def break_all():
        for path in here.rglob("*.png"):
            path.write_bytes(b"broken")

    with pytest.raises(LabError, match=r"the data cannot be read any more: .*\.png \(it is no picture\)") as caught:
        train(typed(here, *ON_DISK), [], callbacks=[At(4, break_all)])
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []
    (path,) = (tmp_path / "outputs" / "tiny").iterdir()
    assert (path / "checkpoints" / "last.ckpt").is_file()
    assert RunFolder(path).read_manifest()["status"] == "failed"


def test_nothing_is_written_where_pictures_are_broken(typed, pictures, tmp_path):
    here = shutil.copytree(pictures, tmp_path / "here")
    (here / "cat" / "003.png").write_bytes(b"broken")
    with pytest.raises(LabError, match=r"1 of \d+ items of the data cannot be read: .*003.png"):
        train(typed(here, *ON_DISK), [])
    assert not (tmp_path / "outputs" / "tiny").exists() or not list((tmp_path / "outputs" / "tiny").iterdir())


def test_an_evaluation_reads_no_more_training_images_than_it_looks_at(typed, pictures, monkeypatch, tmp_path):
    settings = typed(pictures, *ON_DISK, "evaluation=recognition", "evaluation.recognition.max_train=9")
    parts, asked = build(settings), []
    split = parts.data.split
    monkeypatch.setattr(parts.data, "split", lambda name, count=None: asked.append((name, count)) or split(name, count))
    drawn = Draw(split("val")[0], None, 0.0)
    evaluate_now(settings, parts, RunFolder(tmp_path), 0, bar=False, drawn=drawn)
    assert asked == [("train", 9), ("test", None)]


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_killed_run_from_disk_goes_on_exactly(tmp_path):
    pictures = fill(tmp_path / "pictures", {"cat": 14, "dog": 13})
    overrides = [*FOLDER, *ON_DISK, f"data.path={pictures}"]
    status, whole, error = run(tmp_path / "whole", *overrides)
    assert (status, error) == (0, "")
    killed = Kill("in a step", 6)
    status, folder, _ = run(tmp_path / "runs", *overrides, "callbacks.checkpoints.every_n_steps=1", callbacks=[killed])
    assert status == -signal.SIGKILL
    status, resumed, error = run(tmp_path / "runs", f"resume={folder}")
    assert (status, error) == (0, "")
    assert differences(whole, resumed) == []
