"""What a run recorded, read from its files as data."""

import math

import numpy as np
import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.reproduction.recorded_results import (
    final_metrics,
    final_samples,
    last_checkpoint,
    logged_metrics,
    recorded_steps,
)
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO
from diffusion_lab.training.step_losses import write_step_losses


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, "run")


def log(folder, text):
    (folder.path / "csv").mkdir()
    (folder.path / "csv" / "metrics.csv").write_text(text)


def test_metrics_are_by_name_and_by_the_number_of_steps_that_were_done(folder):
    """Lightning counts a step from 0."""
    log(
        folder,
        "step,epoch,train/loss_step,val/loss,speed/images_per_s,memory/peak_MiB\n0,0,0.5,,7,8\n3,1,0.25,0.75,7,8\n",
    )
    assert logged_metrics(folder) == {"train/loss_step": {1: 0.5, 4: 0.25}, "val/loss": {4: 0.75}}


def test_without_a_log_there_are_no_metrics_and_no_steps(folder):
    assert logged_metrics(folder) == {}
    assert recorded_steps(folder) == 0
    assert last_checkpoint(folder) is None
    assert final_samples(folder) is None
    assert final_metrics(folder) == {}


@pytest.mark.parametrize("text", ["step,a\nx,1\n", "step,a\n1,x\n", "a,b\n1,2\n", "step,a\n,1\n"])
def test_a_damaged_log_is_named(folder, text):
    log(folder, text)
    with pytest.raises(LabError, match=r"csv/metrics\.csv is damaged: "):
        logged_metrics(folder)


@pytest.mark.parametrize(
    ("losses", "logged", "steps"),
    [
        ([0.5, 0.4, 0.3], {}, 3),
        ([0.5, math.nan, 0.3, math.inf, math.nan], {}, 3),
        ([0.5], {4: 0.1, 7: 0.2, 9: math.nan}, 7),
        ([0.5] * 8, {4: 0.1}, 8),
        ([math.nan], {2: math.inf}, 0),
    ],
)
def test_steps_count_up_to_the_last_finite_loss_of_either_file(folder, losses, logged, steps):
    write_step_losses(folder.path, 0, np.array(losses, np.float32))
    rows = "".join(f"{step - 1},{loss}\n" for step, loss in logged.items())
    log(folder, f"step,train/loss_step\n{rows}")
    found = recorded_steps(folder)
    assert (found, type(found)) == (steps, int)  # which a config can hold


def test_a_checkpoint_is_its_step_and_the_hash_of_its_weights(folder):
    weights = {"w": torch.arange(3.0)}
    file = folder.path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": weights, "global_step": 5}, file)
    found = last_checkpoint(folder)
    assert (found.step, found.weights) == (5, weights_hash(weights))
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.arange(3.0) + 1e-7}, "global_step": 5}, file)
    assert last_checkpoint(folder).weights != found.weights


@pytest.mark.parametrize("weights", [{"w": 3}, {3: torch.zeros(1)}, [torch.zeros(1)]])
def test_a_checkpoint_whose_weights_are_no_tensors_is_damaged(folder, weights):
    file = folder.path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": weights, "global_step": 5}, file)
    with pytest.raises(LabError, match=r"last\.ckpt is damaged: state_dict must be a mapping from names to tensors"):
        last_checkpoint(folder)


def test_a_name_of_weights_that_is_no_text_of_unicode_is_a_name(folder):
    hashes = []
    for name in ("\ud800", "\ud801"):
        file = folder.path / "checkpoints" / "last.ckpt"
        AtomicCheckpointIO().save_checkpoint({"state_dict": {name: torch.zeros(1)}}, file)
        hashes.append(last_checkpoint(folder).weights)
    assert hashes[0] != hashes[1]


def test_samples_are_read_as_they_are(folder):
    folder.samples.mkdir()
    samples = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(folder.samples / "final.npy", samples)
    found = final_samples(folder)
    assert found.dtype == np.float32
    assert np.array_equal(found, samples)
    (folder.samples / "final.npy").write_bytes(b"no array")
    with pytest.raises(LabError, match=r"final\.npy is damaged"):
        final_samples(folder)


@pytest.mark.parametrize("kept", [-1, 128])
def test_samples_that_lack_bytes_are_damaged_and_stay_as_they_are(folder, kept):
    folder.samples.mkdir()
    file = folder.samples / "final.npy"
    np.save(file, np.arange(12, dtype=np.float32))
    content = file.read_bytes()[:kept]
    file.write_bytes(content)
    with pytest.raises(LabError, match=r"final\.npy is damaged"):
        final_samples(folder)
    assert file.read_bytes() == content


def test_final_metrics_are_leaves_with_the_way_to_them(folder):
    content = {"epochs": [{"val/loss": 1}, {"val/loss": 2}], "fid": {"mean": 3.0, "of": [4, [5]]}, "a": None}
    folder.write_json("metrics.json", content | {"speed/images_per_s": 7, "memory/peak_MiB": {"x": 1}})
    assert final_metrics(folder) == {
        "epochs[0].val/loss": 1, "epochs[1].val/loss": 2, "fid.mean": 3.0, "fid.of[0]": 4, "fid.of[1][0]": 5, "a": None,
    }  # fmt: skip
