"""The record of a job: which run folder it has, in `<outputs>/multirun/jobs/<name>-<hash of its config>.json`.

A job is identified by its config, whichever sweep it belongs to. The record stores the folder of its run and the error
of its last start; whether that run has finished is read from the run's own manifest. A lock file beside the record is
held by the process that runs the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.run_folder.fingerprint import config_hash
from diffusion_lab.run_folder.folder import RunFolder


def job_key(config: Mapping[str, Any]) -> str:
    """Return the key of a job, `<name>-<hash of its config>`. Jobs with equal keys are one and the same run."""
    return f"{config['name']}-{config_hash(config)}"


class JobRecord:
    """The record of the job with key `key`, whose run lies under the folder `outputs`."""

    def __init__(self, outputs: Path, key: str) -> None:
        self.key = key
        self.path = outputs / "multirun" / "jobs" / f"{key}.json"

    def lock(self) -> Lock | None:
        """Take the lock that allows running the job; None if another process holds it.

        Raises:
            LabError: if the lock file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return Lock.take(self.path.with_suffix(".lock"))
        except OSError as error:
            raise LabError(f"cannot write {self.path.parent} (paths.output_dir): {error.strerror}") from error

    def read(self) -> dict[str, Any]:
        """Return the recorded fields: ``folder`` of the run and ``error`` of its last start, where known."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there is no record, or it is damaged: then the job is run again
            return {}
        return content if isinstance(content, dict) else {}

    def update(self, **fields: str | None) -> None:
        """Write these fields and keep the others."""
        write_text(self.path, json.dumps(self.read() | fields, indent=2, ensure_ascii=False) + "\n")

    def find_run(self) -> tuple[str, RunFolder | None]:
        """Return the status in the manifest of the job's run, and its folder; ``none`` and None without such a run."""
        where = self.read().get("folder")
        try:
            folder = RunFolder.open(str(where))
            # The run may have been resumed since with other limits, and then belongs to another job.
            if where is None or job_key(folder.read_config()) != self.key:
                return "none", None
            return str(folder.read_manifest().get("status")), folder
        except (LabError, KeyError):
            return "none", None
