"""A process that runs one trial after another: `python -m diffusion_lab.search.worker`.

Its session sends it two lines on stdin: the plan, and the session's process id. The plan may hold a password, so it is
passed neither on the command line nor in a file. When its session is gone, a worker stops as after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from diffusion_lab.config.cli import guarded
from diffusion_lab.errors import RunInterrupted
from diffusion_lab.machine.parent_watch import watch_parent
from diffusion_lab.machine.ranks import terminable
from diffusion_lab.search.plan import Plan
from diffusion_lab.search.study import ERROR, SharedStudy, unusable
from diffusion_lab.search.trial import run

#: How often a worker without a trial looks whether one was left behind.
_LOOK_SECONDS = 1.0


def work(plan: Plan) -> None:
    """Run trials until as many have ended as were asked for.

    Raises:
        RunInterrupted: after Ctrl-C; the trial under way is saved, and queued to be taken up.
        LabError: if the storage cannot be used; the trial under way is taken up by whoever goes on.
    """
    shared = SharedStudy(plan)
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    try:
        while not shared.is_over():
            trial = shared.ask()
            if trial is None:
                time.sleep(_LOOK_SECONDS)
                continue
            with shared.alive(trial):
                try:
                    outcome = run(plan, trial)
                except KeyboardInterrupt:
                    shared.hand_back(trial)
                    raise
                if outcome.state == "interrupted":
                    shared.hand_back(trial)
                    raise RunInterrupted
                if outcome.state in states:
                    with contextlib.suppress(UpdateFinishedTrialError):  # it was taken up in the meantime
                        if outcome.error:
                            trial.set_user_attr(ERROR, outcome.error)
                        values = outcome.values or None
                        shared.study.tell(trial, values, states[outcome.state], skip_if_finished=True)
    except KeyboardInterrupt as error:
        raise RunInterrupted from error
    except StorageInternalError as error:
        raise unusable(plan, error) from error
    finally:
        shared.close()


def _main() -> None:
    # What SLURM put into the queue again is taken up by way of the storage.
    os.environ.pop("SLURM_RESTART_COUNT", None)
    plan = Plan.from_json(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin deaf to it
    watch_parent(int(sys.stdin.readline()), send=signal.SIGINT)
    with terminable():
        work(plan)


if __name__ == "__main__":
    guarded(_main)
