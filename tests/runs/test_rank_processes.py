"""Several processes: what they compute together, who writes, and how they end."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed
import numpy as np
import pytest
import torch

from conftest import TINY, TINY_TEXT
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import UniformTimes
from diffusion_lab.processes import Gaussian
from diffusion_lab.runs import load_run
from diffusion_lab.runs.train import train
from diffusion_lab.schedules import LinearSchedule

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "scripts" / "train.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")

#: The last batch of an epoch has 59 images, which neither two processes nor their parts of it share evenly. A large
#: eps keeps Adam from turning the rounding of a vanishing gradient into a step.
UNEVEN = ("data.limit_train=251", "optimizer.eps=1", "optimizer.lr=1")

#: Imported by every Python that starts: writes down which process makes, changes or removes which file.
WITNESS = """
import os, sys
log = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def tell(what, detail):
    os.write(log, f"{os.environ.get('LOCAL_RANK', 0)} {what} {detail}\\n".encode())
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        tell("writes", arguments[0])
    if event in ("os.mkdir", "os.rename", "os.remove"):
        tell("writes", arguments[0])
sys.addaudithook(hook)
"""

#: A sampler that writes down which process draws, and an order of the data that tells which one trains.
WITNESSED = """
import sitecustomize
from diffusion_lab.data.digits import Digits
from diffusion_lab.sampling.ancestral import Ancestral
class Sampler(Ancestral):
    def step(self, state, *arguments):
        if len(state.z) > 1:  # every process tries one sample before the run
            sitecustomize.tell("draws", "a step")
        return super().step(state, *arguments)
class Data(Digits):
    def train_dataloader(self):
        sitecustomize.tell("trains", "on its part")
        return super().train_dataloader()
"""


def started(tmp_path, *overrides, launcher=(sys.executable,), script=TRAIN, tiny=TINY, **environment):
    """A run as a person starts it in a terminal of its own."""
    tmp_path.mkdir(exist_ok=True)
    command = [*launcher, script, *tiny, *([f"paths.output_dir={tmp_path}"] if tiny else []), *overrides]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=settings, cwd=tmp_path, start_new_session=True, **pipes)


def finished(process, timeout=100):
    """(status, stdout, stderr) of a run that ended by itself and left no process behind."""
    try:
        out, err = process.communicate(timeout=timeout)
        deadline = time.monotonic() + 10
        while left := members(process.pid):
            assert time.monotonic() < deadline, f"processes {left} are left"
            time.sleep(0.1)
        return process.returncode, out, err
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def members(group):
    """The processes of a group that live."""
    table = subprocess.run(
        ["ps", "-e", "-o", "pid=", "-o", "pgid=", "-o", "stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in table.splitlines()]
    return [int(pid) for pid, of, state in rows if int(of) == group and not state.startswith("Z")]


def folders(tmp_path):
    return sorted((tmp_path / "tiny").iterdir())


def column(folder, name):
    with (folder / "csv" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def assert_same_run(one, other):
    """Within float rounding: the loss of every step, of every epoch and of every validation, and the weights."""
    assert len(column(one, "train/loss_step")) == 8
    for name in ("train/loss_step", "train/loss_epoch", "val/loss"):
        assert column(other, name) == pytest.approx(column(one, name), rel=2e-6), name
    first, second = weights(one), weights(other)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-5)


def assert_same_times(one, other):
    """With a bucket for each step, the counts say how often each time was drawn, in the end not uniformly."""
    first, second = (checkpoint(folder)["time_sampling"] for folder in (one, other))
    assert torch.equal(first["counts"], second["counts"])
    assert int(first["counts"].min()) >= 1
    batches = [
        Noise(torch.arange(n), 42, "train", epoch, i) for epoch in (0, 1) for i, n in enumerate((64, 64, 64, 59))
    ]
    uniform = UniformTimes(Gaussian(LinearSchedule(40)), 64)
    t = torch.cat([uniform(noise.at("time")) for noise in batches])
    counts = torch.bincount((t * 40).round().long() - 1, minlength=40)
    assert counts.sum() == first["counts"].sum()
    assert not torch.equal(counts, first["counts"])
    torch.testing.assert_close(first["losses"], second["losses"], rtol=1e-4, atol=0)


def checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def weights(folder):
    return checkpoint(folder)["state_dict"]


#: Times that are learned from the losses of all processes, after the third step or so.
LEARNED_TIMES = ("time_sampling=importance", "time_sampling.history=1", "schedule.steps=40")


@pytest.mark.parametrize(
    ("parts", "times"),
    [pytest.param(["3"], LEARNED_TIMES, marks=pytest.mark.slow), pytest.param(["1", "3"], (), marks=pytest.mark.full)],
    ids=["run", "sweep"],
)
def test_two_processes_see_what_one_would_and_only_the_first_draws_and_writes(tiny, tmp_path, parts, times):
    """A run with three parts a step, or a sweep of two jobs of two processes each."""
    witness = tmp_path / "witness"
    witness.mkdir()
    (witness / "sitecustomize.py").write_text(WITNESS)
    (witness / "witnessed.py").write_text(WITNESSED)
    path = os.pathsep.join(filter(None, [str(witness), os.environ.get("PYTHONPATH")]))
    drawing = ("callbacks.samples.every_n_epochs=1", "callbacks.samples.num_samples=2")
    process = started(
        tmp_path, *["-m"][: len(parts) - 1], "trainer=ddp_cpu",
        f"trainer.accumulate_grad_batches={','.join(parts)}", *UNEVEN, *times, *drawing,
        "sampler._target_=witnessed.Sampler", "data._target_=witnessed.Data",
        PYTHONPATH=path, WITNESS=str(witness / "log"),
    )  # fmt: skip
    status, _, err = finished(process)
    assert status == 0, err
    assert "Error" not in err
    assert "Warning" not in err

    alone = train(tiny(*UNEVEN, *times, *drawing, f"paths.output_dir={tmp_path}/alone"), []).path
    pair = folders(tmp_path)
    assert len(pair) == len(parts)
    for folder in pair:
        assert_same_run(alone, folder)
        if times:
            assert_same_times(alone, folder)
        assert {p.name for p in folder.iterdir()} == {p.name for p in alone.iterdir()}
        assert json.loads((folder / "manifest.json").read_text())["status"] == "finished"
        assert len(list(folder.glob("tensorboard/**/events*"))) == len(list(alone.glob("tensorboard/**/events*")))

    told = [line.split(" ", 2) for line in (witness / "log").read_text().splitlines()]
    assert {rank for rank, what, _ in told if what == "trains"} == {"0", "1"}
    assert {rank for rank, what, _ in told if what == "draws"} == {"0"}
    assert {rank for rank, what, path in told if what == "writes" and str(tmp_path) in path} == {"0"}


def training(process, tmp_path, steps=4):
    """The folder of a run that has logged so many steps."""

    def logged():
        assert process.poll() is None, process.communicate()
        tables = tmp_path.glob("tiny/*/csv/metrics.csv")
        return [table.parents[1] for table in tables if len(table.read_text().splitlines()) > steps]

    return wait_for(logged)[0]


def wait_for(what):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


#: So long that it is interrupted, with every step on the disk as soon as it is done.
ENDLESS = ("trainer=ddp_cpu", "trainer.max_epochs=2000", "logger=csv", "logger.csv.flush_logs_every_n_steps=1")


def assert_interrupted(folder, status, err):
    assert status == 130, err
    assert err.strip().splitlines()[-1].startswith("Interrupted. To go on: ")
    assert err.count("Interrupted.") == 1
    assert "Error" not in err
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert (folder / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.full
def test_ctrl_c_in_the_terminal_ends_all_processes_and_the_run_goes_on_to_the_same_end(tiny, tmp_path):
    """With accumulation: no stop may come between the parts of a batch."""
    accumulated = "trainer.accumulate_grad_batches=3"
    process = started(tmp_path, *ENDLESS, accumulated, *UNEVEN)
    folder = training(process, tmp_path)
    assert len(members(process.pid)) == 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status, _, err = finished(process)
    assert_interrupted(folder, status, err)
    assert err.count("Ctrl-C again") == 1
    assert len(folders(tmp_path)) == 1

    done = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert done >= 4
    more = ["trainer.max_epochs=-1", f"trainer.max_steps={done + 5}"]
    train(tiny(f"resume={folder}"), [f"resume={folder}", *more])
    whole = train(tiny(*UNEVEN, *more, "logger=csv", f"paths.output_dir={tmp_path}/whole"), []).path
    assert len(column(whole, "train/loss_step")) == done + 5
    assert column(folder, "train/loss_step") == pytest.approx(column(whole, "train/loss_step"), rel=2e-6)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(folder)[name], value, rtol=0, atol=1e-5)


@pytest.mark.full
def test_ctrl_c_sent_to_the_first_process_alone_ends_all(tmp_path):
    process = started(tmp_path, *ENDLESS)
    folder = training(process, tmp_path)
    process.send_signal(signal.SIGINT)
    status, _, err = finished(process, timeout=30)
    assert_interrupted(folder, status, err)


@pytest.mark.full
def test_a_second_ctrl_c_ends_all_processes_at_once(tmp_path):
    """In the middle of a step of sixty parts, which would end with a checkpoint."""
    slow = (
        "data.image_size=64",
        "network.base_channels=64",
        "data.batch_size=125",
        "trainer.accumulate_grad_batches=60",
    )
    process = started(tmp_path, *ENDLESS, *slow)
    folder = training(process, tmp_path, steps=1)
    os.killpg(process.pid, signal.SIGINT)
    while "Ctrl-C again stops at once" not in process.stderr.readline():
        pass
    time.sleep(0.6)  # sooner it would be the same keypress
    os.killpg(process.pid, signal.SIGINT)
    status, _, err = finished(process, timeout=60)
    assert status == 130
    assert err.strip() == "Interrupted. Nothing had been saved yet."
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"


@pytest.mark.full
def test_a_lost_process_ends_the_run_in_one_line(tmp_path):
    process = started(tmp_path, *ENDLESS)
    folder = training(process, tmp_path)
    (child,) = set(members(process.pid)) - {process.pid}
    os.kill(child, signal.SIGKILL)
    status, _, err = finished(process, timeout=30)
    assert status == 1
    assert err.strip() == "Error: process 1 of 2 was killed by signal 9, and the run with it"
    assert json.loads((folder / "manifest.json").read_text())["status"] == "failed"


@pytest.mark.full
def test_processes_whose_first_one_is_lost_do_not_outlive_it(tmp_path):
    process = started(tmp_path, *ENDLESS)
    training(process, tmp_path)
    process.kill()
    assert finished(process, timeout=30)[0] == -signal.SIGKILL


@pytest.mark.full
def test_torchrun_gives_one_folder_the_same_losses_and_an_end_with_ctrl_c(tiny, tmp_path):
    alone = train(tiny(*UNEVEN, f"paths.output_dir={tmp_path}/alone"), []).path
    status, out, err = finished(started(tmp_path, "trainer=ddp_cpu", *UNEVEN, launcher=TORCHRUN))
    assert status == 0, err
    assert out.count("run folder") == 1
    (folder,) = folders(tmp_path)
    assert_same_run(alone, folder)

    process = started(tmp_path / "stopped", *ENDLESS, launcher=TORCHRUN)
    folder = training(process, tmp_path / "stopped")
    os.killpg(process.pid, signal.SIGINT)
    _, _, err = finished(process, timeout=60)
    assert err.count("To go on: ") == 1
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert (folder / "checkpoints" / "last.ckpt").is_file()


#: What is trained in shards: its small settings, what makes its last batch uneven, the shape of a sample, and what
#: samples are shown as.
SHARDED = {
    "images": (TINY, UNEVEN, (1, 8, 8), ".png"),
    "text": (
        ("experiment=mdlm_shakespeare", *TINY_TEXT, "sampler.num_steps=4", "optimizer=adamw", "ema=none"),
        ("data.limit_train=59", "optimizer.eps=1", "optimizer.lr=0.1"),
        (16,),
        ".txt",
    ),
}


@pytest.mark.full
@pytest.mark.parametrize(("kind", "precision"), [("images", "32-true"), ("images", "bf16-mixed"), ("text", "32-true")])
def test_shards_see_what_one_process_would_draw_and_go_on(settings, coarse_figures, tmp_path, kind, precision):
    """FSDP on the CPU: the losses, clipping, samples while training, a checkpoint that is one file, and resuming."""
    small, uneven, shape, shown = SHARDED[kind]
    typed = (
        *uneven, f"trainer.precision={precision}", "trainer.gradient_clip_val=0.1",
        "callbacks.samples.every_n_epochs=1", "callbacks.samples.num_samples=2",
    )  # fmt: skip
    alone = train(settings(*small, *typed, "trainer.max_epochs=3", f"paths.output_dir={tmp_path}/alone"), []).path
    script = ROOT / "tests" / "sharded_run.py"
    sharded = {"launcher": TORCHRUN, "script": script}
    first = ("trainer=ddp_cpu", "trainer.strategy=fsdp", *typed, "trainer.max_epochs=1")
    once = started(tmp_path, *first, tiny=small, **sharded)
    status, _, err = finished(once)
    assert status == 0, err
    (folder,) = folders(tmp_path)
    status, _, err = finished(started(tmp_path, f"resume={folder}", "trainer.max_epochs=3", tiny=(), **sharded))
    assert status == 0, err

    tolerance = {"32-true": 1e-5, "bf16-mixed": 1e-2}[precision]
    for name in ("train/loss_step", "val/loss"):
        assert column(folder, name) == pytest.approx(column(alone, name), rel=tolerance), name
    assert {path.name for path in (folder / "figures").iterdir()} >= {f"samples_epoch_0002{shown}", f"samples{shown}"}
    ours, theirs = np.load(folder / "samples" / "final.npy"), np.load(alone / "samples" / "final.npy")
    np.testing.assert_allclose(ours, theirs, atol=100 * tolerance)
    assert load_run(folder).sample(2).shape == (2, *shape)
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(folder)[name], value, rtol=0, atol=tolerance)


@pytest.mark.full
@pytest.mark.parametrize("victim", ["both", "the first", "the second"])
def test_two_processes_that_were_killed_go_on_exactly(tmp_path, victim):
    """With an average, dropout and parts of batches; bit for bit, which two processes repeat."""
    settings = (
        "trainer=ddp_cpu", "trainer.max_epochs=10", "ema=default", "network.dropout=0.2",
        "trainer.accumulate_grad_batches=3", "callbacks.checkpoints.every_n_steps=3",
        "logger=csv", "logger.csv.flush_logs_every_n_steps=1",
    )  # fmt: skip
    status, _, err = finished(started(tmp_path / "whole", *settings))
    assert status == 0, err
    process = started(tmp_path / "killed", *settings)
    folder = training(process, tmp_path / "killed", steps=9)
    (second,) = set(members(process.pid)) - {process.pid}
    for pid in {"both": (process.pid, second), "the first": (process.pid,), "the second": (second,)}[victim]:
        os.kill(pid, signal.SIGKILL)
    assert finished(process, timeout=30)[0] != 0
    status, _, err = finished(started(tmp_path / "killed", f"resume={folder}", tiny=()))
    assert status == 0, err
    (whole,) = folders(tmp_path / "whole")
    assert killed.differences(whole, folder) == []


@pytest.mark.full
def test_sigterm_ends_all_processes_with_a_status_of_its_own(tmp_path):
    """As a cluster does that wants its machine back: to the first process alone."""
    process = started(tmp_path, *ENDLESS)
    folder = training(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    status, _, err = finished(process, timeout=60)
    assert status == 143, err
    assert err.strip().splitlines()[-1].startswith("Interrupted. To go on: ")
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert (folder / "checkpoints" / "last.ckpt").is_file()
