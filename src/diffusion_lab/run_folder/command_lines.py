"""Paths and commands as a person sees and types them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from diffusion_lab.config.tree import conf_dir
from diffusion_lab.run_folder.folder import RunFolder

#: What Hydra takes in a value without quotes.
_BARE = re.compile(r"[\w./\\\-+%@?|*$: ]+", re.ASCII)


def shown(path: Path) -> str:
    """Relative to where the user stands, where that is shorter."""
    return min(os.path.relpath(path), str(path), key=len)


def script(name: str, **values: str) -> str:
    """The command line that runs ``scripts/<name>.py`` with Hydra's overrides, quoted for the shell."""
    return typed(name, [f"{key}={_hydra(value)}" for key, value in values.items()])


def typed(name: str, arguments: Sequence[str]) -> str:
    """The command line of ``scripts/<name>.py`` with arguments as they were typed."""
    path = conf_dir().parent / "scripts" / f"{name}.py"
    where = shown(path) if path.is_file() else f"scripts/{name}.py"
    return shlex.join(["python", where, *arguments])


def resume(folder: RunFolder) -> str:
    """Goes on with the run."""
    return script("train", resume=shown(folder.path))


def sample(folder: RunFolder) -> str:
    """Draws more samples."""
    return script("sample", run_dir=shown(folder.path), num_samples="64", seed="7")


def tensorboard(folder: RunFolder, outputs: Path) -> str:
    """Shows this run beside the others in `outputs`, or alone if it has been moved elsewhere."""
    where = outputs if folder.path.is_relative_to(outputs) else folder.path
    return shlex.join(["tensorboard", "--logdir", shown(where)])


def _hydra(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
