"""What a run was made with is on record: each session's code, environment and fingerprint."""

import hashlib
import os
import platform
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffusion_lab.run_folder import environment, manifest
from diffusion_lab.run_folder.environment import compute_environment, hardware, versions
from diffusion_lab.run_folder.fingerprint import config_hash, fingerprint, package_hash
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.git_patch import GitError, WorkingTree
from diffusion_lab.run_folder.layout import LAYOUT_VERSION
from diffusion_lab.run_folder.manifest import Manifest, weights_hash
from diffusion_lab.runs import load_run
from diffusion_lab.runs.train import train
from pretended_device import pretended_device


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A function from a working tree to what the manifest of a new run says of it, and the run's folder."""

    def of(tree):
        def working_tree(inside, without):
            assert without == tmp_path
            if isinstance(tree, Exception):
                raise tree
            return tree

        monkeypatch.setattr(manifest, "working_tree", working_tree)
        folder = RunFolder.create(tmp_path, "x")
        return Manifest(folder, 0).content["sessions"][0]["git"], folder.path

    return of


@pytest.mark.slow
def test_each_session_has_a_fingerprint_and_the_last_one_s_is_the_run_s(tiny):
    folder = train(tiny("console=quiet"), [])
    content = folder.read_json("manifest.json")
    before = content["fingerprint"]
    assert content["parameters"] == sum(p.numel() for p in load_run(folder.path).parts.network.parameters())
    assert (content["sessions"][0]["process_id"], content["sessions"][0]["host"]) == (os.getpid(), platform.node())
    assert before["config"] == config_hash(folder.read_config())
    assert before["code"] == package_hash()
    typed = [f"resume={folder.path}", "trainer.max_epochs=3"]
    train(tiny("console=quiet", *typed), typed)
    content = folder.read_json("manifest.json")
    first, second = (session["fingerprint"] for session in content["sessions"])
    assert first == before
    assert content["fingerprint"] == second
    assert [part for part in first if first[part] != second[part]] == ["experiment", "config"]
    assert content["sessions"][1]["weights"] != content["sessions"][0]["weights"]


@pytest.mark.slow
def test_another_number_of_threads_is_the_same_experiment_in_another_environment(tiny):
    prints = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            folder = train(tiny("console=quiet", "trainer.max_epochs=1"), [])
        finally:
            torch.set_num_threads(1)
        prints.append(folder.read_json("manifest.json")["fingerprint"])
    assert [part for part in prints[0] if prints[0][part] != prints[1][part]] == ["environment"]


def test_what_differs_from_the_commit_is_a_file_of_bytes(begun):
    told, path = begun(WorkingTree("abc", b"\xff\r\npatch", ("big.bin",)))
    assert told == {"commit": "abc", "dirty": True, "patch": "code_0.patch", "left_out": ["big.bin"]}
    assert (path / "code_0.patch").read_bytes() == b"\xff\r\npatch"
    assert begun(WorkingTree("abc", b"patch"))[0] == {"commit": "abc", "dirty": True, "patch": "code_0.patch"}
    assert begun(WorkingTree("abc", b"", ("big.bin",)))[0] == {"commit": "abc", "dirty": True, "left_out": ["big.bin"]}


def test_without_changes_there_is_no_patch(begun):
    told, path = begun(WorkingTree("abc", b""))
    assert told == {"commit": "abc", "dirty": False}
    assert [file.name for file in path.iterdir()] == ["manifest.json"]


def test_a_run_begins_without_git_too(begun):
    assert begun(None)[0] == {}
    assert begun(GitError("fatal: no space left"))[0] == {"error": "fatal: no space left"}


def trainer(device="cpu", processes=1):
    return SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(device)), world_size=processes, precision="32-true"
    )


def test_the_threads_of_a_run_are_those_that_each_process_will_have(monkeypatch):
    monkeypatch.setattr(environment, "_suggested_max_num_threads", lambda processes: 12 // processes)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [compute_environment(trainer(processes=n))["threads"] for n in (1, 2, 3)] == [1, 6, 4]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert [compute_environment(trainer(processes=n))["threads"] for n in (1, 2, 3)] == [1, 1, 1]


def test_a_run_on_the_cpu_does_not_depend_on_the_gpus_beside_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # it has no driver
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert environment.hardware()["gpus"] == ["a GPU"]
    assert (compute_environment(trainer())["name"], compute_environment(trainer())["cuda"]) == (
        environment.processor(),
        None,
    )
    there = compute_environment(trainer("cuda"))
    assert (there["device"], there["name"], there["cuda"]) == ("cuda", "a GPU", "13.0")


def test_what_chooses_kernels_is_on_record(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("HOME", "/secret")
    assert compute_environment(trainer())["variables"]["MKL_CBWR"] == "COMPATIBLE"
    assert "HOME" not in compute_environment(trainer())["variables"]


#: A time of the manifest: whole seconds in UTC.
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"


def test_a_session_says_what_it_is_made_with_and_what_it_starts_from(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "working_tree", lambda inside, without: None)
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=3"])
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    folder, config, module = RunFolder.create(tmp_path, "x"), {"seed": 3}, torch.nn.Linear(2, 1)
    data = SimpleNamespace(fingerprint=lambda: {"train": "aa"})
    Manifest(folder, 3).add_fingerprint(config, SimpleNamespace(data=data, module=module), trainer())
    content = folder.read_manifest()
    (session,) = content["sessions"]
    assert (content["layout_version"], content["seed"], content["status"]) == (LAYOUT_VERSION, 3, "running")
    assert (content["data"], content["parameters"]) == ({"train": "aa"}, 3)
    assert re.fullmatch(TIME, session["started"])
    assert (session["process_id"], session["host"]) == (os.getpid(), platform.node())
    assert (session["argv"], session["slurm_job"]) == (["train.py", "seed=3"], "17")
    assert (session["versions"], session["hardware"]) == (versions(), hardware())
    computing = compute_environment(trainer())
    assert (session["computing"], session["own_code"]) == (computing, {})
    assert session["weights"] == weights_hash(module.state_dict())
    assert session["fingerprint"] == fingerprint(config, {"train": "aa"}, {"versions": versions(), **computing})
    assert content["fingerprint"] == session["fingerprint"]


def test_the_seconds_of_a_run_are_those_of_its_sessions_that_were_not_killed(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(manifest, "working_tree", lambda inside, without: WorkingTree("abcdef0", b"patch"))
    monkeypatch.setattr(manifest, "time", SimpleNamespace(monotonic=lambda: now))
    folder = RunFolder.create(tmp_path, "x")
    Manifest(folder, 3)  # it is killed
    now += 50
    second = Manifest(folder, 7)
    now += 2.34
    assert second.wall_time() == pytest.approx(2.34)
    second.end_session("interrupted", steps=5)
    content = folder.read_manifest()
    assert (content["status"], content["steps"]) == ("interrupted", 5)
    ended = content["sessions"][1]
    assert (ended["status"], ended["wall_time_s"]) == ("interrupted", 2.3)
    assert re.fullmatch(TIME, ended["ended"])
    now += 50
    third = Manifest(folder, 7)
    now += 1.5
    assert third.wall_time() == pytest.approx(2.3 + 1.5)
    content = folder.read_manifest()
    assert (content["status"], content["seed"]) == ("running", 3)
    assert [session.get("wall_time_s") for session in content["sessions"]] == [None, 2.3, None]
    patches = [f"code_{number}.patch" for number in range(3)]
    assert [session["git"]["patch"] for session in content["sessions"]] == patches
    assert sorted(file.name for file in folder.path.glob("*.patch")) == patches
    third.end_session("finished")
    assert third.wall_time() == pytest.approx(2.3 + 1.5)


def test_the_hash_of_weights_is_of_their_names_and_bits_in_the_order_of_the_names():
    weights = {"b": torch.tensor(3), "a": torch.tensor([1.0, -0.0]), "\ud800": torch.tensor([], dtype=torch.bfloat16)}
    content = b"a" + np.array([1.0, -0.0], "<f4").tobytes() + b"b" + np.array(3, "<i8").tobytes() + b"\xed\xa0\x80"
    assert weights_hash(weights) == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert weights_hash(dict(reversed(weights.items()))) == weights_hash(weights)
    assert weights_hash(weights | {"a": torch.tensor([1.0, 0.0])}) != weights_hash(weights)


def test_the_hash_of_weights_does_not_mind_where_and_how_they_lie():
    expected = weights_hash({"w": torch.arange(3.0)})
    assert weights_hash({"w": torch.nn.Parameter(torch.arange(3.0))}) == expected
    assert weights_hash({"w": torch.arange(0, 3, 0.5)[::2]}) == expected
    with pretended_device() as device:
        assert weights_hash({"w": torch.arange(3.0, device=device)}) == expected
