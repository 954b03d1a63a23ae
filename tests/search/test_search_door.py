"""scripts/search.py on the command line: bad input ends in one line and leaves no files; output for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, a_third_quick
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.search.study import SharedStudy
from searches import small_spec

BASE = ("data=digits", "data.image_size=8", "network.channel_multipliers=[1]", "trainer=cpu")

BAD = {
    # The space: keys, values, corners.
    '++search.space={optimizer.lrr: "interval(1,2)"}': ["no key optimizer.lrr", "did you mean lr?", "none was started"],
    '++search.space={optimiser.lr: "interval(1,2)"}': ["no key optimiser", "did you mean optimizer?"],
    '++search.space={optimizer.lr: "interval(1e-2)"}': ["search.space.optimizer.lr=interval(1e-2)", "cannot be read"],
    '++search.space={optimizer.lr: "interval(1e-2,1e-3)"}': ["the first number must be less"],
    '++search.space={optimizer.lr: "tag(log,interval(0,1))"}': ["a logarithm needs numbers above 0"],
    "++search.space={optimizer.lr: 0.1}": ["it is one value; type optimizer.lr=0.1"],
    '++search.space={schedule: "choice(linear,cosin)"}': ["schedule=cosin", "did you mean cosine?"],
    '++search.space={network.base_channels: "range(8,13)"}': ["network.base_channels must be a multiple of 8, got 12"],
    '++search.space={optimizer.lr: "interval(-1,1)"}': ["learning rate: -1.0"],
    '++search.space={console: "choice(text,json)"}': ["search.space.console does not affect a run"],
    '+search.space.optimizer.eps="interval(0,1)"': ["search.space.optimizer is not a complete key"],
    "search.space=3": ["search.space=3", "a mapping"],
    "search.space=null": ["search.space"],
    # What else a search has.
    "search.sampler=tep": ["search.sampler=tep", "did you mean tpe?"],
    "search.pruner=medain": ["search.pruner=medain", "did you mean median?"],
    "search.sampler=grid": ["search.sampler=grid", "optimizer.lr", "is an interval"],
    "search.n_trials=0": ["search.n_trials must be at least 1, got 0"],
    "search.n_trials=many": ["search.n_trials=many", "an integer"],
    "search.workers=0": ["search.workers must be at least 1"],
    "search.heartbeat=0": ["search.heartbeat must be at least 1"],
    "search.name=a/b": ["search.name must be a folder's name", "'a/b'"],
    "search.ntrials=3": ["no key search.ntrials", "did you mean n_trials?"],
    "search=quikstart": ["search=quikstart", "did you mean quickstart?"],
    "search.storage=study.db": ["search.storage must be the URL of a database"],
    "search.storage=postgresql://me:hush@127.0.0.1:1/x": ["search.storage=postgresql://me:***@127.0.0.1:1/x"],
    "search.objectives=[]": ["search.objectives is empty"],
    "search.objectives=[val/loss]": ["search.objectives"],
    "search.objectives=[{metric:val/los}]": ["search.objectives[0].metric=val/los", "did you mean val/loss?"],
    "search.objectives=[{metric:val/loss,direction:down}]": ["search.objectives[0].direction=down", "minimize"],
    "search.objectives=[{metrics:val/loss}]": ["search.objectives[0].metrics", "did you mean metric?"],
    "search.objectives=[{metric:recognition.samples}]": ["is not measured", "evaluation=recognition"],
    "search.objectives=[{metric:seconds,of:best}]": ["only losses"],
    "search.objectives=[{metric:seconds}]": ["search.pruner=median compares losses", "search.pruner=none"],
    "search.objectives=[{metric:val/loss},{metric:val/loss}]": ["each may appear only once"],
    "trainer.limit_val_batches=0": ["limit_val_batches=0 leaves no validation"],
    # The training run.
    "optimizer.lrr=1": ["no key optimizer.lrr", "did you mean lr?"],
    "trainer.precision=16-mixed": ["trainer.precision=16-mixed", "GPU"],
    "resume=outputs": ["resume=outputs", "search.name"],
    "seed=abc": ["seed=abc", "an integer"],
}


@pytest.mark.parametrize("typed", a_third_quick(BAD))
def test_it_is_refused_in_one_line_and_nothing_is_written(door, tmp_path, typed):
    status, line = door(*BASE, typed, script="search")
    assert status == 1
    assert line.startswith("Error: ")
    for said in BAD[typed]:
        assert said in line
    assert "hush" not in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_optuna_the_line_says_what_to_install(door, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert door(*BASE, script="search") == (1, "Error: scripts/search.py needs Optuna: pip install optuna")


@pytest.mark.slow
def test_another_space_under_the_same_name_is_one_line(door, tmp_path):
    spec = small_spec(tmp_path)
    SharedStudy(spec).close()
    status, line = door(*BASE, "search.name=small", f"search.storage={spec.storage}", script="search")
    assert status == 1
    assert "search.name=small: there is a search of this name already, with another search.space" in line


def script(*arguments, cwd):
    return subprocess.run(
        [sys.executable, conf_dir().parent / "scripts" / "search.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_help_tells_of_presets_and_keys_without_torch(tmp_path):
    done = script("--help", cwd=tmp_path)
    assert done.returncode == 0
    for said in ("* quickstart", "speed", "search.n_trials", "search.storage", "tag(log, interval(1e-4, 1e-2))"):
        assert said in done.stdout


@pytest.mark.full
def test_programs_are_told_each_trial_and_what_was_found(tmp_path):
    """The session itself, its worker a process of its own. What TINY fixes of the preset's space is not searched."""
    typed = [
        *TINY,
        "optimizer.weight_decay=0.01",
        "logger=none",
        "search.name=told",
        "search.sampler=grid",
        f"paths.output_dir={tmp_path}",
    ]
    done = script(*typed, "console=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    trials = [event for event in events if event["event"] == "trial"]
    assert [event["trial"] for event in trials] == [0, 1]
    assert {event["params"]["optimizer"] for event in trials} == {"adam", "adamw"}
    (end,) = [event for event in events if event["event"] == "end"]
    (best,) = end["best"]
    (told,) = [event for event in trials if event["trial"] == best["trial"]]
    assert best["values"] == told["values"]
    assert best["values"]["val/loss"] == min(event["values"]["val/loss"] for event in trials)
    assert end["path"] == best["run_folder"] == told["trial_folder"]
    assert best["command"].endswith(f"optimizer={best['params']['optimizer']}")
    assert end["trials"] == {"complete": 2}
    assert {Path(path).name for path in end["figures"]} == {"history.png", "slices.png", "importances.png"}
    assert all(Path(path).is_file() for path in end["figures"])

    again = script(*typed, cwd=tmp_path)
    assert "so far      2 of 2 trials have ended" in again.stdout
    assert f"best trial {best['trial']}: val/loss" in again.stdout
    assert "finished" not in again.stdout  # no trial was run, none is told
