"""Attributes that a search stores in Optuna's studies and trials, and the history of trials that were requeued.

To Optuna, a requeued trial is a new one: the old trial has failed, and the new one has its values, its
attributes and, in Optuna's own `retry_history`, the numbers that it had before.
"""

from __future__ import annotations

import copy
import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial

#: Attribute of a study: the parts of its search that must be the same in all sessions.
SEARCH = "search"

#: Attributes of a trial.
RUN_FOLDER = "run_folder"
PARAMETERS = "parameters"  # how many parameters the network has
WORKER = "worker"  # host name and process id of its worker
ERROR = "error"  # one line that says why it failed
VALIDATED_AT = "validated_at"  # the training steps at which its loss was reported
LOST = "lost_workers"  # how many workers were lost while they ran it
SURPLUS = "surplus"  # set if two workers asked for the last trial at once, and this is the one too many


def history(trial: FrozenTrial) -> list[int]:
    """Return the numbers that this trial had before it was requeued, in order."""
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return RetryHeartbeatStaleTrialCallback.retry_history(trial)


def first_number(trial: FrozenTrial) -> int:
    """Return the number that this trial had at first, which is the one shown to people."""
    return min([trial.number, *history(trial)])


def requeue_trial(study: Study, trial: FrozenTrial) -> None:
    """Queue a new trial that continues this one, which must have ended. The new one has no worker and no error yet."""
    again = copy.deepcopy(trial)
    for name in (WORKER, ERROR):
        again.user_attrs.pop(name, None)
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, again)
