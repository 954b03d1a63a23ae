"""Command lines of this project's scripts, and paths, as a person reads and types them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from diffusion_lab.config.command_names import is_installed
from diffusion_lab.config.overrides import quoted
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.run_folder.folder import RunFolder

#: Values that Hydra takes without quotes.
_BARE = re.compile(r"[\w./\\\-+%@?|*$: ]+", re.ASCII)


def shown(path: Path) -> str:
    """Return a path relative to the working directory, if that is shorter."""
    return min(os.path.relpath(path), str(path), key=len)


def script(name: str, **values: str) -> str:
    """Return the command line that runs the script `name` with Hydra overrides, quoted for the shell."""
    return typed(name, [f"{key}={_hydra(value)}" for key, value in values.items()])


def typed(name: str, arguments: Sequence[str]) -> str:
    """Return the command line that runs the script `name` with the arguments, quoted for the shell."""
    if is_installed():
        return shlex.join(["diffusion-lab", name, *arguments])
    return shlex.join(["python", shown(conf_dir().parent / "scripts" / f"{name}.py"), *arguments])


def resume(folder: RunFolder) -> str:
    """Return the command line that resumes the run."""
    return script("train", resume=shown(folder.path))


def sample(folder: RunFolder) -> str:
    """Return the command line that draws more samples from the run."""
    return script("sample", run_dir=shown(folder.path), num_samples="64", seed="7")


def tensorboard(folder: RunFolder, outputs: Path) -> str:
    """Return the command line of TensorBoard on all runs in `outputs`, or on this run if it lies elsewhere."""
    where = outputs if folder.path.is_relative_to(outputs) else folder.path
    return shlex.join(["tensorboard", "--logdir", shown(where)])


def _hydra(value: str) -> str:
    return value if _BARE.fullmatch(value) else quoted(value)
