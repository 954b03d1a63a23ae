"""A process that runs one trial after another: `python -m diffusion_lab.search.worker`, with its plan on stdin.

The plan may hold a password, so it comes neither by the command line nor by a file. When stdin ends, so has the
session that started this process: it then stops as if it had been asked to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from diffusion_lab.config.cli import exit_on_error
from diffusion_lab.errors import RunInterrupted
from diffusion_lab.machine.ranks import interrupt_on_sigterm
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


def _stop_with_session() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not by sys.stdin, whose lock Python wants when it ends
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _main() -> None:
    # What SLURM put into the queue again is taken up by way of the storage.
    os.environ.pop("SLURM_RESTART_COUNT", None)
    plan = Plan.from_json(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin deaf to it
    threading.Thread(target=_stop_with_session, name="session-watch", daemon=True).start()
    with interrupt_on_sigterm():
        work(plan)


if __name__ == "__main__":
    exit_on_error(_main)
