"""Which run a job has: `<outputs>/multirun/jobs/<name>-<hash of its config>.json`, with a lock beside it.

A job is known by its config, whatever sweep it belongs to. The record says in which folder its run lies, and nothing
else counts: how far that run has come, its own manifest says. Whoever runs the job holds the lock meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.run_folder.fingerprint import config_hash
from diffusion_lab.run_folder.folder import RunFolder, write_text


def job_key(config: Mapping[str, Any]) -> str:
    """What a job is known by: the folder that its run belongs to, and what decides its results."""
    return f"{config['name']}-{config_hash(config)}"


class JobRecord:
    """The record of the job called `key`, of the runs in `outputs`."""

    def __init__(self, outputs: Path, key: str) -> None:
        self.key = key
        self.path = outputs / "multirun" / "jobs" / f"{key}.json"

    def lock(self) -> Lock | None:
        """The right to run the job; None while somebody else has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return Lock.take(self.path.with_suffix(".lock"))
        except OSError as error:
            raise LabError(f"cannot write {self.path.parent} (paths.output_dir): {error.strerror}") from error

    def read(self) -> dict[str, Any]:
        """``folder`` of its run and ``error`` of its last start, as far as they are known."""
        try:
            content = json.loads(self.path.read_text())
        except (OSError, ValueError):  # there is none, or it is damaged: then the job is run again
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, **facts: str | None) -> None:
        """Note a fact beside those that are known."""
        write_text(self.path, json.dumps(self.read() | facts, indent=2, ensure_ascii=False) + "\n")

    def run(self) -> tuple[str, RunFolder | None]:
        """How far its run has come, as its manifest says, and its folder; ``none`` if there is no such run any more."""
        where = self.read().get("folder")
        try:
            folder = RunFolder.open(str(where))
            if where is None or job_key(folder.read_config()) != self.key:  # trained on since, under other limits
                return "none", None
            return str(folder.read_json("manifest.json").get("status")), folder
        except (LabError, KeyError):
            return "none", None
