"""The process of one job: `python -m diffusion_lab.sweeps.job_process`, with the job as JSON on stdin."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from diffusion_lab.config.cli import exit_on_error, one_line
from diffusion_lab.errors import RunInterrupted
from diffusion_lab.machine.parent_watch import watch_parent

#: Seconds that a job has to save and stop when its supervisor is gone.
_GRACE_SECONDS = 60.0


def _run_job() -> None:
    # SLURM sends the signal for the end of the job's time to every process of the job; the supervisor handles it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # submitit's processes ignore SIGINT
    signal.signal(signal.SIGTERM, _raise_interrupted)
    message: dict[str, Any] = json.load(sys.stdin)
    sys.argv = message["argv"]
    watch_parent(message["parent"], send=signal.SIGTERM, exit_after=_GRACE_SECONDS)
    # Imported here, so that an error while importing is also reported in one line.
    from diffusion_lab.config.schema import TrainConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs.train import train
    from diffusion_lab.sweeps.job_record import JobRecord
    from diffusion_lab.sweeps.record_run_folder import RecordRunFolder

    record = JobRecord(Path(message["outputs"]), message["key"])
    try:
        settings = read_settings(TrainConfig, message["config"])
        train(settings, message["overrides"], message["options"], [RecordRunFolder(record)])
    except RunInterrupted:
        raise
    except Exception as error:
        record.update(error=one_line(error))
        raise


def _raise_interrupted(number: int, frame: Any) -> None:
    raise RunInterrupted("Interrupted.", number)


if __name__ == "__main__":
    exit_on_error(_run_job)
