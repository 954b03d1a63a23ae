"""Two runs can be told to be the same experiment, or not."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import diffusion_lab
from diffusion_lab.runs import fingerprint
from diffusion_lab.runs.fingerprint import DECIDES_NOTHING, code_hash, config_hash

SAME = (
    "paths.output_dir=/elsewhere", "paths.data_dir=/elsewhere", "logger=none", "console=json", "name=other",
    "resume=/a/run", "callbacks.progress.refresh_seconds=9", "trainer.enable_progress_bar=false",
    "callbacks.checkpoints.every_n_epochs=2", "trainer.enable_model_summary=true", "trainer.profiler=simple",
    "optimizer.lr=0.001",
)  # fmt: skip
OTHER = (
    "seed=1", "compile=true", "init_from=/a/run", "optimizer.lr=2e-3", "network.base_channels=16", "data.image_size=9",
    "schedule=cosine", "sampling.seed=1", "trainer.precision=bf16-mixed",
    "trainer.max_epochs=3", "trainer.devices=2", "trainer.limit_val_batches=1", "evaluation=recognition",
)  # fmt: skip


@pytest.mark.parametrize("override", SAME)
def test_what_decides_nothing_changes_no_hash(tiny, override):
    assert config_hash(tiny(override)) == config_hash(tiny())


@pytest.mark.parametrize("override", OTHER)
def test_what_decides_something_changes_it(tiny, override):
    assert config_hash(tiny(override)) != config_hash(tiny())


def test_the_hash_is_short_and_the_same_for_what_was_read_again(tiny, tmp_path):
    cfg = tiny()
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    again = OmegaConf.load(tmp_path / "config.yaml")
    assert config_hash(again) == config_hash(cfg)
    assert len(config_hash(cfg)) == 16
    turned = OmegaConf.create(dict(reversed(OmegaConf.to_container(cfg, resolve=True).items())))
    assert config_hash(turned) == config_hash(cfg)


def test_one_and_one_point_nought_are_two_limits(tiny):
    assert config_hash(tiny("trainer.limit_val_batches=1")) != config_hash(tiny("trainer.limit_val_batches=1.0"))


def test_a_key_inside_a_part_is_not_taken_for_one_of_the_run(tiny):
    """`name` decides nothing at the top; as an argument of some part it may."""
    assert config_hash(tiny("+network.name=a")) != config_hash(tiny("+network.name=b"))


def test_each_key_that_decides_nothing_is_said_why():
    assert all(DECIDES_NOTHING.values())


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the installed package, which stands in for it."""
    package = tmp_path / "diffusion_lab"
    shutil.copytree(Path(diffusion_lab.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint.diffusion_lab, "__file__", str(package / "__init__.py"))
    return package


def test_the_hash_of_the_code_does_not_mind_where_it_lies_and_what_python_left_beside_it(copied, monkeypatch):
    here = code_hash()
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "noise.cpython-311.pyc").write_bytes(b"compiled")
    assert code_hash() == here
    monkeypatch.undo()
    assert code_hash() == here


@pytest.mark.parametrize("change", ["edited", "renamed", "added", "removed"])
def test_the_hash_of_the_code_sees_every_change(copied, change):
    before, file = code_hash(), copied / "schedules" / "cosine.py"
    if change == "edited":
        file.write_bytes(file.read_bytes() + b" ")
    elif change == "renamed":
        file.rename(file.with_name("kosine.py"))
    elif change == "added":
        (copied / "networks" / "new.py").write_bytes(b"")
    else:
        file.unlink()
    assert code_hash() != before
