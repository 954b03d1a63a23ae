"""Signals: the first ends a run after its step, the second at once, and one keypress is one signal."""

import os
import signal
import subprocess
from types import SimpleNamespace

import pytest
from lightning_fabric.plugins.environments import SLURMEnvironment

from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.training.checkpoints import Checkpoints
from diffusion_lab.training.graceful_interrupt import GracefulInterrupt, slurm_job


@pytest.fixture
def trainer(monkeypatch):
    """Says what a trainer is asked; in ``saved`` is how often the state was saved."""
    saved = []
    checkpoints = Checkpoints()
    monkeypatch.setattr(checkpoints, "save_last", saved.append)
    return SimpleNamespace(
        world_size=1, is_global_zero=True, accumulate_grad_batches=1, checkpoint_callbacks=[object(), checkpoints],
        saved=saved, _accelerator_connector=SimpleNamespace(cluster_environment=None),
    )  # fmt: skip


@pytest.fixture
def interrupt(trainer):
    """The callback of a run that has begun."""
    callback = GracefulInterrupt()
    callback.on_train_start(trainer, None)
    yield callback
    callback.on_fit_end(trainer, None)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_with_its_state_saved(interrupt, trainer, number, capsys):
    interrupt.on_train_batch_start(trainer, None, None, 0)
    send(number)
    assert trainer.saved == []
    with pytest.raises(RunInterrupted) as stopped:
        interrupt.on_train_batch_start(trainer, None, None, 1)
    assert stopped.value.status == 128 + number
    assert trainer.saved == [trainer]
    again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
    assert capsys.readouterr().err == f"\nStopping after this step{again}.\n"


def test_no_run_ends_between_the_parts_of_a_step(interrupt, trainer):
    trainer.accumulate_grad_batches = 3
    send(signal.SIGTERM)
    for part in (1, 2, 4, 5):
        interrupt.on_train_batch_start(trainer, None, None, part)
    with pytest.raises(RunInterrupted):
        interrupt.on_train_batch_start(trainer, None, None, 6)


def test_a_signal_in_the_last_step_counts(interrupt, trainer):
    send(signal.SIGTERM)
    with pytest.raises(RunInterrupted):
        interrupt.on_train_end(trainer, None)
    assert trainer.saved == [trainer]


def test_without_a_signal_nothing_ends(interrupt, trainer):
    interrupt.on_train_batch_start(trainer, None, None, 0)
    interrupt.on_train_end(trainer, None)
    assert trainer.saved == []


def test_the_same_keypress_may_arrive_twice_and_another_one_ends_the_run_at_once(interrupt, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    send(signal.SIGINT)
    now = 100.4
    send(signal.SIGINT)
    now = 100.5
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_one_process_speaks_for_all(trainer, capsys):
    trainer.is_global_zero = False
    callback = GracefulInterrupt()
    callback.on_train_start(trainer, None)
    send(signal.SIGTERM)
    callback.on_fit_end(trainer, None)
    assert callback.requested == signal.SIGTERM
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("end", ["on_fit_end", "on_exception"])
def test_the_handlers_of_before_are_put_back(trainer, end):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    callback = GracefulInterrupt()
    callback.on_train_start(trainer, None)
    assert signal.getsignal(signal.SIGTERM) == callback._handle
    getattr(callback, end)(*[trainer, None, KeyboardInterrupt()][: 2 + (end == "on_exception")])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def slurm(trainer, monkeypatch):
    """The commands that a job under SLURM, which is told of its end by SIGUSR1, gives to SLURM."""
    environment = SLURMEnvironment.__new__(SLURMEnvironment)
    environment.requeue_signal = signal.SIGUSR1
    trainer._accelerator_connector.cluster_environment = environment
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append((command, options["check"])))
    return commands


@pytest.mark.parametrize(
    ("number", "first", "commands"),
    [
        (signal.SIGUSR1, True, [(["scontrol", "requeue", "17"], True)]),
        (signal.SIGUSR1, False, []),
        (signal.SIGTERM, True, []),
    ],
)
def test_a_job_whose_time_ends_is_requeued_by_its_first_process(trainer, slurm, number, first, commands):
    trainer.is_global_zero = first
    callback = GracefulInterrupt()
    callback.on_train_start(trainer, None)
    send(number)
    with pytest.raises(RunInterrupted):
        callback.on_train_batch_start(trainer, None, None, 0)
    callback.on_exception(trainer, None, KeyboardInterrupt())
    assert slurm == commands
    assert trainer.saved == [trainer]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (subprocess.CalledProcessError(1, "scontrol", stderr="Job is held\n"), "Job is held"),
        (FileNotFoundError("no scontrol"), "no scontrol"),
    ],
)
def test_that_slurm_refuses_is_told_after_the_state_is_saved(trainer, slurm, monkeypatch, error, reason):
    def refuse(command, **options):
        assert trainer.saved == [trainer]
        raise error

    monkeypatch.setattr(subprocess, "run", refuse)
    callback = GracefulInterrupt()
    callback.on_train_start(trainer, None)
    send(signal.SIGUSR1)
    with pytest.raises(LabError, match=f"the state is saved, but SLURM did not requeue job 17: {reason}"):
        callback.on_train_batch_start(trainer, None, None, 0)
    callback.on_exception(trainer, None, KeyboardInterrupt())


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "18", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}, "5_2"),
    ],
)
def test_the_id_of_a_job_is_one_that_it_keeps(monkeypatch, variables, job):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert slurm_job() == job
