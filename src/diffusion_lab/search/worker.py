"""A worker process, which runs one trial after another: `python -m diffusion_lab.search.worker`.

Its session sends it two lines on stdin: the specification of the search as JSON, and the session's process id. The
specification may contain a password, so it is passed neither on the command line nor in a file. When its session is
gone, a worker stops as after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from diffusion_lab.config.cli import exit_on_error
from diffusion_lab.errors import RunInterrupted
from diffusion_lab.machine.parent_watch import watch_parent
from diffusion_lab.machine.ranks import interrupt_on_sigterm
from diffusion_lab.search.search_spec import SearchSpec
from diffusion_lab.search.storage import storage_error
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial import run_trial
from diffusion_lab.search.trial_attributes import ERROR

#: Seconds after which a worker without a trial asks for one again.
_ASK_SECONDS = 1.0


def run_trials(spec: SearchSpec) -> None:
    """Run trials until the search is over.

    Raises:
        RunInterrupted: after Ctrl-C; the current trial has been saved and requeued.
        LabError: if the storage cannot be used; the current trial is requeued once its heartbeats are missing.
    """
    shared = SharedStudy(spec)
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    try:
        while not shared.is_over():
            trial = shared.ask()
            if trial is None:
                time.sleep(_ASK_SECONDS)
                continue
            with shared.heartbeats(trial):
                try:
                    outcome = run_trial(spec, trial)
                except KeyboardInterrupt:
                    shared.requeue(trial.number)
                    raise
                if outcome.state == "interrupted":
                    shared.requeue(trial.number)
                    raise RunInterrupted
                if outcome.state in states:
                    with contextlib.suppress(UpdateFinishedTrialError):  # it was requeued in the meantime
                        if outcome.error:
                            trial.set_user_attr(ERROR, outcome.error)
                        values = outcome.values or None
                        shared.study.tell(trial, values, states[outcome.state], skip_if_finished=True)
    except KeyboardInterrupt as error:
        raise RunInterrupted from error
    except StorageInternalError as error:
        raise storage_error(spec.storage, error) from error
    finally:
        shared.close()


def _main() -> None:
    # A trial is resumed by what the storage says, not as the job that SLURM has queued again.
    os.environ.pop("SLURM_RESTART_COUNT", None)
    spec = SearchSpec.from_json(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
    watch_parent(int(sys.stdin.readline()), send=signal.SIGINT)
    with interrupt_on_sigterm():
        run_trials(spec)


if __name__ == "__main__":
    exit_on_error(_main)
