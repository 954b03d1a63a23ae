"""A disk that is full in the middle of a file, in processes of their own: one line, and nothing that looks whole."""

import json

import pytest

from conftest import TINY
from doors import typed

KIB = 1024


def answer(script, arguments, folder, largest_file):
    """The line that a script ends with which cannot write a file of more bytes than that."""
    ended = typed(script, arguments, folder, largest_file=largest_file)
    assert ended.status == 1, ended.out
    (line,) = ended.err.splitlines()
    assert line.endswith(": File too large")
    return line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kib", "changes", "named"),
    [
        (1, [], "/config.yaml"),
        (20, [], "/figures/schedule.png"),
        (120, [], ""),  # TensorBoard's, which a thread of its own writes
        (120, ["logger=csv", "network.base_channels=32"], "/checkpoints/best.ckpt"),
        (120, ["logger=csv", "data.image_size=32", "trainer.max_steps=1"], "/figures/denoising.gif"),
    ],
)
def test_training_names_the_file_and_records_the_same_line(kib, changes, named, tmp_path):
    line = answer("train", [*TINY, f"paths.output_dir={tmp_path}/outputs", *changes], tmp_path, kib * KIB)
    (run,) = (tmp_path / "outputs" / "tiny").iterdir()
    said = f"cannot write {run}{named}" if named else f"cannot write a file in {run}"
    checkpoint = "the checkpoint " if named.endswith(".ckpt") else ""
    assert line == f"Error: {said.replace('write ', f'write {checkpoint}')}: File too large"
    if kib > 1:
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        assert (manifest["status"], manifest["error"]) == ("failed", line.removeprefix("Error: "))
    assert not list(run.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(("bytes_", "named"), [(1000, "samples.npy"), (4000, "grid.png"), (20000, "denoising.png")])
def test_a_draw_that_does_not_fit_leaves_nothing(bytes_, named, copy, tmp_path):
    before = sorted(copy.samples.iterdir())
    arguments = [f"run_dir={copy.path}", "num_samples=9", "device=cpu", "trajectory=true"]
    assert f"/{named}: " in answer("sample", arguments, tmp_path, bytes_)
    assert sorted(copy.samples.iterdir()) == before


@pytest.mark.slow
def test_a_comparison_that_does_not_fit_leaves_none_of_its_files(recorded, copy, tmp_path):
    out = tmp_path / "page"
    line = answer("compare", [recorded.path, copy.path, f"out=[{out}]"], tmp_path, 4 * KIB)
    assert line == f"Error: cannot write {out}/comparison.html: File too large"
    assert not list(out.iterdir())
