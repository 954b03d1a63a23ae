"""Two runs can be told to be the same experiment, or not."""

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import diffusion_lab
from conftest import TINY
from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.run_folder import fingerprint
from diffusion_lab.run_folder.fingerprint import DECIDES_NOTHING, code_hash, config_hash, package_hash
from diffusion_lab.run_folder.folder import RunFolder

SAME = (
    "paths.output_dir=/elsewhere", "paths.data_dir=/elsewhere", "logger.csv=null", "console.kind=json", "name=other",
    "tags=[a]", "notes=b", "rerun=true", "launcher.n_jobs=2", "resume=/a/run", "callbacks.progress.refresh_seconds=9",
    "callbacks.checkpoints.every_n_epochs=2", "trainer.enable_progress_bar=false", "trainer.profiler=simple",
    "trainer.enable_model_summary=true", "optimizer.lr=0.001", "data.path=/elsewhere", "data.in_memory=false",
    "data.workers=3",
)  # fmt: skip
OTHER = (
    "seed=1", "compile=true", "deterministic=true", "init_from=/a/run", "optimizer.lr=2e-3", "network.base_channels=16",
    "data.image_size=9", "data.classes=[a,b]", "schedule._target_=another", "schedule.steps=10", "sampling.seed=1",
    "ema.decay=0.9",
    "trainer.precision=bf16-mixed", "trainer.max_epochs=3", "trainer.devices=2", "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=2", "evaluation.recognition.members=2", "callbacks.early_stopping.patience=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def base():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", list(TINY)), resolve=True)


def changed(base, *overrides):
    return OmegaConf.to_container(OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides))))


@pytest.mark.parametrize("override", SAME)
def test_what_decides_nothing_changes_no_hash(base, override):
    assert config_hash(changed(base, override)) == config_hash(base)


@pytest.mark.parametrize("override", OTHER)
def test_what_decides_something_changes_it(base, override):
    assert config_hash(changed(base, override)) != config_hash(base)


def test_the_hash_is_short_and_the_same_for_what_was_read_again(base, tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_config(base, [])
    assert config_hash(folder.read_config()) == config_hash(base)
    assert len(config_hash(base)) == 16
    assert config_hash(dict(reversed(base.items()))) == config_hash(base)


def test_the_hash_of_a_config_stays_what_it_was_in_earlier_versions():
    config = {
        "schedule": {"_target_": "diffusion_lab.schedules.LinearSchedule", "steps": 1000, "beta_start": 1e-4},
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001, "betas": [0.9, 0.999]},
        "trainer": {"max_epochs": 2, "precision": "32-true", "profiler": None, "limit_val_batches": 1.0},
        "callbacks": {"progress": {"_target_": "x"}, "interrupt": {"_target_": "y"}},
        "paths": {"data_dir": "/data", "output_dir": "/runs"},
        "name": "golden", "tags": ["a"], "notes": "ᾱ", "seed": 42, "compile": False, "resume": None, "init_from": None,
        "sampling": {"num_samples": 64, "batch_size": 256, "seed": 0},
    }  # fmt: skip
    assert config_hash(config) == "9a403dd502542cef"


def test_one_and_one_point_nought_are_two_limits(base):
    one, all_of_them = (changed(base, f"trainer.limit_val_batches={limit}") for limit in ("1", "1.0"))
    assert config_hash(one) != config_hash(all_of_them)


def test_a_key_inside_a_part_is_not_taken_for_one_of_the_run(base):
    """`name` decides nothing at the top; as an argument of some part it may."""
    assert config_hash(changed(base, "network.name=a")) != config_hash(changed(base, "network.name=b"))


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ({}, []),
        ({"config": {"seed": 2}}, ["experiment", "config"]),
        ({"data": {"train": "b"}}, ["experiment", "data"]),
        ({"environment": {"threads": 2}}, ["environment"]),
    ],
)
def test_an_experiment_is_a_config_code_and_data_in_whatever_environment(change, differing):
    given = {"config": {"seed": 1}, "data": {"train": "a"}, "environment": {"threads": 1}}
    found, other = (fingerprint.fingerprint(**node) for node in (given, given | change))
    assert list(found) == ["experiment", "config", "code", "data", "environment"]
    assert [part for part in found if found[part] != other[part]] == differing
    assert {len(part) for part in found.values()} == {16}


def test_each_key_that_decides_nothing_is_said_why():
    assert all(DECIDES_NOTHING.values())


def hash_now():
    """Of the files as they are, whatever was read before."""
    return package_hash.__wrapped__()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the installed package, which stands in for it."""
    package = tmp_path / "diffusion_lab"
    shutil.copytree(Path(diffusion_lab.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
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
    package_hash.cache_clear()
    before = package_hash()
    (copied / "noise.py").write_bytes(b"edited")
    assert package_hash() == before != hash_now()
    package_hash.cache_clear()


def test_the_code_of_a_run_is_that_of_the_package_and_the_modules_of_one_s_own(copied, tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, "net_of_one_s_own,other_net_of_one_s_own")
    monkeypatch.syspath_prepend(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    for name in ("net_of_one_s_own", "other_net_of_one_s_own"):
        (tmp_path / "mine" / f"{name}.py").write_text(f"# {name}\n")
    nodes = ("net_of_one_s_own.Net", "other_net_of_one_s_own.Net", "diffusion_lab.networks.SimpleUNet")
    hashes = [code_hash({"network": {"_target_": node}}) for node in nodes]
    assert hashes[2] == package_hash()
    assert len({*hashes}) == 3
    assert all(len(found) == 16 for found in hashes)
    (copied / "noise.py").write_bytes(b"edited")
    package_hash.cache_clear()
    for node, before in zip(nodes, hashes, strict=True):
        assert code_hash({"network": {"_target_": node}}) != before
    package_hash.cache_clear()
