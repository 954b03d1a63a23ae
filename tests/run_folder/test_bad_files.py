"""Data files, run folders, disks and compilers that are not what they should be, through the door."""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from conftest import TINY
from diffusion_lab.data import MNIST
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.train import train

TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"


def idx(magic, count, body):
    return magic.to_bytes(4, "big") + count.to_bytes(4, "big") + body


@pytest.fixture
def raw(tmp_path):
    """A folder with the four files of MNIST's names, none of which is MNIST's."""
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in MNIST.checksums:
        (folder / name).write_bytes(idx(2049 if "labels" in name else 2051, 1, b"\0"))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def download(self):
        raise RuntimeError("Error downloading\n  <urlopen error no network>")

    monkeypatch.setattr(MNIST.source, "download", download)


def unreadable(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),  # truncated
        lambda path: path.write_bytes(b""),  # empty
        lambda path: path.write_bytes(idx(1234, 1, b"\0")),  # wrong magic number
        lambda path: path.write_bytes(path.read_bytes() * 2),  # wrong size
    ],
    ids=["truncated", "empty", "wrong magic number", "wrong size"],
)
def test_a_damaged_data_file_is_named_before_a_run_begins(door, raw, tmp_path, monkeypatch, damage):
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in raw.iterdir()}
    monkeypatch.setattr(MNIST, "checksums", sums)
    path = raw / "train-labels-idx1-ubyte"
    damage(path)
    status, line = door("data=mnist", "trainer=cpu", f"paths.data_dir={tmp_path}/data")
    assert status == 1
    assert f"{path} is damaged" in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("damage", "said"), [(Path.unlink, "could not be downloaded"), (unreadable, "could not be downloaded")]
)
def test_a_data_file_that_is_not_there_is_named_with_what_would_do(
    door, raw, tmp_path, no_network, capsys, damage, said
):
    damage(raw / "t10k-images-idx3-ubyte")
    status, line = door("data=mnist", "trainer=cpu", "console=quiet", f"paths.data_dir={tmp_path}/data")
    assert status == 1
    assert said in line
    assert "data=digits" in line
    assert not (tmp_path / "outputs").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the tiny network."""
    from hydra import compose, initialize_config_dir

    from diffusion_lab.config.schema import TrainConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.config.tree import conf_dir

    outputs = tmp_path_factory.mktemp("outputs")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [*TINY, "trainer.max_epochs=1", f"paths.output_dir={outputs}"])
    return train(read_settings(TrainConfig, cfg), []).path


@pytest.fixture
def run_dir(finished, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


class Code:
    """Unpickled, it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def changed(path, **keys):
    cfg = OmegaConf.load(path / "config.yaml")
    for key, value in keys.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    OmegaConf.save(cfg, path / "config.yaml")


def without_code(path):
    torch.save({"state_dict": {}, "extra": Code(path.parent / "it ran")}, path / "checkpoints" / "last.ckpt")


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


DAMAGES = {
    "no folder": (shutil.rmtree, "there is no run folder"),
    "no config": (lambda p: (p / "config.yaml").unlink(), "is no run folder: it has no config.yaml"),
    "half a config": (lambda p: (p / "config.yaml").write_text("network: {base"), "config.yaml is damaged"),
    "no checkpoint": (lambda p: shutil.rmtree(p / "checkpoints"), "it has none yet"),
    "half a checkpoint": (lambda p: halved(p / "checkpoints" / "last.ckpt"), "last.ckpt is damaged"),
    "an empty checkpoint": (lambda p: (p / "checkpoints" / "last.ckpt").write_bytes(b""), "last.ckpt is damaged"),
    "another network": (lambda p: changed(p, network__base_channels=16), "is of another network: network."),
    "a checkpoint with code": (without_code, "holds more than tensors"),
    "a command as a target": (lambda p: changed(p, network___target_="os.system"), "os.system"),
    "a foreign target": (lambda p: changed(p, callbacks__x={"_target_": "theirs.Callback"}), "theirs.Callback"),
    "a misspelled argument": (lambda p: changed(p, network__bas_channels=8), "did you mean base_channels?"),
}


#: Starting from another run's weights reads nothing of it but the checkpoint.
OF_THE_CONFIG = {"half a config", "another network", "a command as a target", "a foreign target"}


@pytest.mark.parametrize(
    ("key", "damage"),
    [(key, damage) for key in ("resume", "run_dir") for damage in DAMAGES]
    + [("init_from", damage) for damage in sorted(DAMAGES.keys() - OF_THE_CONFIG - {"a misspelled argument"})],
)
def test_a_run_folder_that_is_not_whole_is_named_and_its_code_is_not_run(door, run_dir, tmp_path, key, damage):
    spoil, said = DAMAGES[damage]
    spoil(run_dir)
    # A finished run has nothing to go on with, unless there is more to do.
    more = {"resume": ["trainer.max_epochs=2"], "init_from": [*TINY, "console=quiet"], "run_dir": []}[key]
    status, line = door(f"{key}={run_dir}", *more, script="sample" if key == "run_dir" else "train")
    assert status == 1
    assert said in line
    assert not (tmp_path / "it ran").exists()
    assert not (tmp_path / "outputs").exists()


def test_a_resumed_run_that_cannot_be_keeps_its_record(door, run_dir):
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    for change in ("optimizer.lr=1", "trainer.max_epochs=x", "trainer.max_epochs=2 seed=3"):
        status, _ = door(f"resume={run_dir}", *change.split())
        assert status == 1
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


def started(*overrides, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("environment", {})}
    command = [sys.executable, TRAIN, *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment, **options)


@pytest.mark.slow
def test_a_disk_that_is_full_costs_no_checkpoint_that_was_whole(tiny, tmp_path):
    """The operating system refuses to write more than a megabyte; the checkpoint is larger."""
    wide = ("network.base_channels=64", "network.channel_multipliers=[2]", "logger=csv")
    short = "trainer.max_epochs=1"
    folder = train(tiny(*wide, "console=quiet", short), [short]).path
    checkpoint = folder / "checkpoints" / "last.ckpt"
    before = checkpoint.read_bytes()
    assert len(before) > 2**20

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    done = started(f"resume={folder}", "trainer.max_epochs=2", preexec_fn=limited)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: cannot write the checkpoint ")
    assert line.endswith("; the previous one is intact")
    assert checkpoint.read_bytes() == before
    assert {path.name for path in checkpoint.parent.iterdir()} <= {"last.ckpt", "best.ckpt", "step_00000004.ckpt"}
    assert RunFolder(folder).read_json("manifest.json")["status"] == "failed"


@pytest.mark.full
def test_without_a_compiler_one_line_says_so_and_the_network_runs_as_it_is(tmp_path):
    environment = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = started(
        *TINY, "trainer.max_epochs=1", "compile=true", f"paths.output_dir={tmp_path}", environment=environment
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "no C++ compiler was found" in line
    assert "g++" in line


@pytest.mark.parametrize("within", ["checkpoints/last.ckpt", "checkpoints", "figures", "config.yaml"])
@pytest.mark.parametrize(("script", "key"), [("train", "resume"), ("sample", "run_dir"), ("evaluate", "run_dir")])
def test_a_path_within_a_run_is_answered_with_the_run(door, run_dir, script, key, within):
    status, line = door(f"{key}={run_dir / within}", script=script)
    assert status == 1
    assert line.endswith(f"; did you mean {run_dir}?")


def test_a_folder_of_runs_is_answered_with_its_newest(door, run_dir):
    status, line = door(f"run_dir={run_dir.parent}", script="sample")
    assert status == 1
    assert line.endswith(f"; did you mean {run_dir}?")


@pytest.mark.parametrize("typed", ["best.ckpt", "last.ckpt", "checkpoints/last.ckpt"])
def test_the_file_of_a_checkpoint_is_answered_with_its_name(door, run_dir, typed):
    status, line = door(f"run_dir={run_dir}", f"checkpoint={typed}", script="sample")
    assert status == 1
    assert line.endswith(f"; did you mean checkpoint={typed[-9:-5]}?")
