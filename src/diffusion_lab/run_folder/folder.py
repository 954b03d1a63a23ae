"""A run's folder: what lies where, and how it is written and read."""

from __future__ import annotations

import contextlib
import datetime
import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.file_lock import Lock


class RunFolder:
    """`<outputs>/<name>/<date>_<time>-<short id>/` and the files in it.

    Args:
        path: an existing folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        self.figures = self.path / "figures"
        self.samples = self.path / "samples"
        self._made_for_it: list[Path] = []  # the folders around it that were not there before

    @classmethod
    def create(cls, outputs: str | Path, name: str) -> RunFolder:
        """Make a folder that no other run has, even one that starts in the same second.

        Raises:
            LabError: naming the folder, if it cannot be made.
        """
        parent = Path(outputs) / name
        missing = [folder.resolve() for folder in (parent, Path(outputs)) if not folder.exists()]
        try:
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
                path = parent / f"{now}-{secrets.token_hex(3)}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                folder = cls(path)
                folder._made_for_it = missing
                return folder
        except OSError as error:
            raise LabError(f"cannot make a run folder in {parent} (paths.output_dir): {error.strerror}") from error

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run's folder.

        Raises:
            LabError: naming the folder or the file, if it is none.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise LabError(f"there is no run folder {path}")
        if not (folder.path / "config.yaml").is_file():
            raise LabError(f"{path} is no run folder: it has no config.yaml")
        return folder

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts, no other process may train in this folder.

        Raises:
            LabError: if one does.
        """
        lock = Lock.take(self.path)
        if lock is None:
            raise LabError(f"{self.path} is being trained by another process: wait for its end, or stop it")
        try:
            yield
        finally:
            lock.release()

    def discard(self) -> None:
        """Remove the folder, and those that were made for it as far as they are empty then."""
        shutil.rmtree(self.path)
        for folder in self._made_for_it:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def write_config(self, cfg: DictConfig, overrides: list[str]) -> None:
        """Record the resolved config, and what was typed to get it."""
        write_text(self.path / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
        write_text(self.path / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))

    def read_config(self) -> DictConfig:
        """The recorded config. It is data: what it names as targets has not been checked.

        Raises:
            LabError: naming the file, if it is damaged.
        """
        path = self.path / "config.yaml"
        try:
            cfg = OmegaConf.load(path)
        except Exception as error:  # whatever a damaged YAML file leads to
            raise LabError(f"{path} is damaged: {error}") from error
        if not isinstance(cfg, DictConfig):
            raise LabError(f"{path} is damaged: it holds no mapping")
        return cfg

    def read_overrides(self) -> list[str]:
        """What was typed to get the recorded config; nothing where that is not known any more."""
        try:
            typed = OmegaConf.load(self.path / "overrides.yaml")
            return list(map(str, OmegaConf.to_container(typed) or []))  # as typed: nothing is resolved
        except Exception:  # for the record only, and whatever a damaged YAML file leads to
            return []

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write `name` whole or not at all."""
        write_text(self.path / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of `name`: see `read_json`."""
        return read_json(self.path / name)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file, empty where there is none.

    Raises:
        LabError: naming the file, if it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise LabError(f"{path} is damaged: it holds no mapping")
    return content
