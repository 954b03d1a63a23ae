"""What the process of a job runs: `python -m diffusion_lab.sweeps.job_process`, with the job as JSON on stdin."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from diffusion_lab.config.cli import guarded, one_line
from diffusion_lab.errors import RunInterrupted

#: How long a job whose supervisor is gone is given to save and stop.
_GRACE_SECONDS = 60.0


def _work() -> None:
    # SLURM announces the end of the job's time to all processes with this one; the supervisor takes care of it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # submitit's processes ignore it
    signal.signal(signal.SIGTERM, _terminate)
    message: dict[str, Any] = json.load(sys.stdin)
    sys.argv = message["argv"]
    _stop_with(message["parent"])
    # Imported here, so that whatever goes wrong with it ends in one line.
    from diffusion_lab.config.schema import TrainConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs.train import train
    from diffusion_lab.sweeps.job_record import JobRecord
    from diffusion_lab.sweeps.note import NoteFolder

    record = JobRecord(Path(message["outputs"]), message["key"])
    try:
        settings = read_settings(TrainConfig, message["config"])
        train(settings, message["overrides"], message["options"], [NoteFolder(record)])
    except RunInterrupted:
        raise
    except Exception as error:
        record.write(error=one_line(error))
        raise


def _terminate(number: int, frame: Any) -> None:
    raise RunInterrupted("Interrupted.", number)


def _stop_with(parent: int) -> None:
    """Save and stop when the process that started this one is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


if __name__ == "__main__":
    guarded(_work)
