"""Two runs can be told to be the same experiment, or not."""

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import diffusion_lab
from conftest import TINY
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.run_folder import fingerprint
from diffusion_lab.run_folder.fingerprint import DECIDES_NOTHING, code_hash, config_hash

SAME = (
    "paths.output_dir=/elsewhere", "paths.data_dir=/elsewhere", "logger.csv=null", "console.kind=json", "name=other",
    "tags=[a]", "notes=b", "rerun=true", "launcher.n_jobs=2", "resume=/a/run", "callbacks.progress.refresh_seconds=9",
    "callbacks.checkpoints.every_n_epochs=2", "trainer.enable_progress_bar=false", "trainer.profiler=simple",
    "trainer.enable_model_summary=true", "optimizer.lr=0.001",
)  # fmt: skip
OTHER = (
    "seed=1", "compile=true", "deterministic=true", "init_from=/a/run", "optimizer.lr=2e-3", "network.base_channels=16",
    "data.image_size=9", "schedule._target_=another", "schedule.steps=10", "sampling.seed=1", "ema.decay=0.9",
    "trainer.precision=bf16-mixed", "trainer.max_epochs=3", "trainer.devices=2", "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=2", "evaluation.recognition.members=2", "callbacks.early_stopping.patience=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def base():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(TINY))


def changed(base, *overrides):
    return OmegaConf.merge(OmegaConf.create(OmegaConf.to_container(base)), OmegaConf.from_dotlist(list(overrides)))


@pytest.mark.parametrize("override", SAME)
def test_what_decides_nothing_changes_no_hash(base, override):
    assert config_hash(changed(base, override)) == config_hash(base)


@pytest.mark.parametrize("override", OTHER)
def test_what_decides_something_changes_it(base, override):
    assert config_hash(changed(base, override)) != config_hash(base)


def test_the_hash_is_short_and_the_same_for_what_was_read_again(base, tmp_path):
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(base, resolve=True))
    again = OmegaConf.load(tmp_path / "config.yaml")
    assert config_hash(again) == config_hash(base)
    assert len(config_hash(base)) == 16
    turned = OmegaConf.create(dict(reversed(OmegaConf.to_container(base, resolve=True).items())))
    assert config_hash(turned) == config_hash(base)


def test_one_and_one_point_nought_are_two_limits(base):
    one, all_of_them = (changed(base, f"trainer.limit_val_batches={limit}") for limit in ("1", "1.0"))
    assert config_hash(one) != config_hash(all_of_them)


def test_a_key_inside_a_part_is_not_taken_for_one_of_the_run(base):
    """`name` decides nothing at the top; as an argument of some part it may."""
    assert config_hash(changed(base, "network.name=a")) != config_hash(changed(base, "network.name=b"))


def test_each_key_that_decides_nothing_is_said_why():
    assert all(DECIDES_NOTHING.values())


def hash_now():
    """Of the files as they are, whatever was read before."""
    return code_hash.__wrapped__()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the installed package, which stands in for it."""
    package = tmp_path / "diffusion_lab"
    shutil.copytree(Path(diffusion_lab.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint.diffusion_lab, "__file__", str(package / "__init__.py"))
    return package


def test_the_hash_of_the_code_does_not_mind_where_it_lies_and_what_python_left_beside_it(copied, monkeypatch):
    here = hash_now()
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "noise.cpython-311.pyc").write_bytes(b"compiled")
    assert hash_now() == here
    monkeypatch.undo()
    assert hash_now() == here


@pytest.mark.parametrize("change", ["edited", "renamed", "added", "removed"])
def test_the_hash_of_the_code_sees_every_change(copied, change):
    before, file = hash_now(), copied / "schedules" / "cosine.py"
    if change == "edited":
        file.write_bytes(file.read_bytes() + b" ")
    elif change == "renamed":
        file.rename(file.with_name("kosine.py"))
    elif change == "added":
        (copied / "networks" / "new.py").write_bytes(b"")
    else:
        file.unlink()
    assert hash_now() != before


def test_what_is_edited_while_a_process_runs_is_not_what_it_runs(copied):
    code_hash.cache_clear()
    before = code_hash()
    (copied / "noise.py").write_bytes(b"edited")
    assert code_hash() == before != hash_now()
    code_hash.cache_clear()
