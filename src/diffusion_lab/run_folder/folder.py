"""The folder of a run: where its files lie, and how they are written and read."""

from __future__ import annotations

import contextlib
import datetime
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.bounded_read import OF_LOGGERS, check_folder, read_json, read_yaml
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.run_folder.manifest_check import check_manifest
from diffusion_lab.run_folder.recorded_config import as_yaml, read_recorded_config, without_long_lists


class RunFolder:
    """`<outputs>/<name>/<date>_<time>-<short id>/` and the files in it.

    Args:
        path: an existing folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        self.figures = self.path / "figures"
        self.samples = self.path / "samples"
        self._created_parents: list[Path] = []

    @classmethod
    def create(cls, outputs: str | Path, name: str) -> RunFolder:
        """Create a folder that no other run has, even one that starts in the same second.

        Raises:
            LabError: naming the folder, if it cannot be created.
        """
        parent = Path(outputs) / name
        try:
            missing = [folder.resolve() for folder in (parent, Path(outputs)) if not folder.exists()]
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
                path = parent / f"{now}-{secrets.token_hex(3)}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                folder = cls(path)
                folder._created_parents = missing
                return folder
        except OSError as error:
            raise LabError(f"cannot make a run folder in {parent} (paths.output_dir): {error.strerror}") from error

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of an existing run, of which nothing may lead out: see `check_folder`.

        Raises:
            LabError: if there is no such folder, if it is not a run's, or if a link in it leads out of it.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise LabError(f"there is no run folder {path}{_run_nearby(folder.path)}")
        if not (folder.path / "config.yaml").is_file():
            raise LabError(f"{path} is no run folder: it has no config.yaml{_run_nearby(folder.path)}")
        check_folder(folder.path, OF_LOGGERS)
        return folder

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder's lock, so that no other process trains in it.

        Raises:
            LabError: if another process holds it.
        """
        lock = Lock.take(self.path)
        if lock is None:
            raise LabError(f"{self.path} is being trained by another process: wait for its end, or stop it")
        try:
            yield
        finally:
            lock.release()

    def discard(self) -> None:
        """Remove the folder, and the parent folders that `create` made, if they are empty."""
        shutil.rmtree(self.path)
        for folder in self._created_parents:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def write_config(self, config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Record the resolved config as a plain container, and the overrides that were typed to get it."""
        short, lists = without_long_lists(config)
        for key, values in lists.items():
            self.write_json(f"{key}.json", {key: values})
        write_text(self.path / "config.yaml", as_yaml(short))
        write_text(self.path / "overrides.yaml", as_yaml(list(overrides)))

    def read_config(self) -> dict[str, Any]:
        """Return the recorded config; its targets are not checked. See `read_recorded_config`."""
        return read_recorded_config(self.path, self.read_manifest())

    def read_overrides(self) -> list[str]:
        """Return the overrides that were typed to get the recorded config; none if the file is missing or damaged."""
        try:
            typed = read_yaml(self.path / "overrides.yaml")
        except LabError:  # it is for the record only
            return []
        return [text for text in typed if isinstance(text, str)] if isinstance(typed, list) else []

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write the file `name`, whole or not at all."""
        write_text(self.path / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of the file `name`, which is empty if there is no such file: see `read_json`."""
        return read_json(self.path / name)

    def read_manifest(self) -> dict[str, Any]:
        """Return the content of `manifest.json`, empty if there is no such file.

        Raises:
            LabError: naming the file, and the field that is not what this project records.
        """
        path = self.path / "manifest.json"
        return check_manifest(read_json(path), path)


def _run_nearby(path: Path) -> str:
    """Return the end of a line about a path that is no run folder: the run that it lies in, or the newest one in it."""
    around = [parent for parent in path.parents if (parent / "config.yaml").is_file()]
    inside = sorted(file.parent for file in path.glob("*/config.yaml"))
    return f"; did you mean {(around or inside[-1:])[0]}?" if around or inside else ""
