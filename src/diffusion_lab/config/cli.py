"""The door that every script goes through. Imports neither torch nor Lightning: `--help` answers at once."""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError, RunInterrupted

DEBUG_VARIABLE = "DIFFUSION_LAB_DEBUG"
INTERRUPTED_STATUS = 130


def conf_dir() -> Path:
    """The config tree: beside src/ in a clone, inside the package where it was installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    in_clone = package.parents[1] / "conf"
    return in_clone if (in_clone / "train.yaml").is_file() else package / "conf"


def run(config_name: str, task: Callable[[Any], Any]) -> None:
    """Compose `config_name` with the command line's overrides and run `task` on it."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them

    @functools.wraps(task)
    def guarded_task(cfg: Any) -> Any:
        # Inside Hydra too: it would add a line of its own to an exception that passes through it.
        return guarded(lambda: task(cfg))

    entry = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    guarded(lambda: entry(guarded_task)())


def guarded(work: Callable[[], Any]) -> None:
    """Do the work; whatever goes wrong ends in one line and a status, with a traceback if asked for."""
    try:
        work()
    except RunInterrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        print(f"Error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def one_line(error: BaseException) -> str:
    """What a person needs to know of an error."""
    if isinstance(error, LabError):
        return " ".join(str(error).split())
    kind = type(error).__module__.split(".")[0]
    if kind in ("hydra", "omegaconf"):
        return _of_config(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())} (a traceback: {DEBUG_VARIABLE}=1)"


def _of_config(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"there is no key {match[1]} (`--cfg job` lists the keys)"
    if match := re.search(
        r"Could not find '([^']+)'.*?Available options in '([^']+)': (.*?)(?: Config search path|$)", text
    ):
        group, options = match[2], match[3].split()
        given = match[1].removeprefix(f"{group}/")
        near = difflib.get_close_matches(given, options, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        return f"{group}={given}: there is no such option, choose from {', '.join(options)}{guess}"
    return re.sub(r" (full_key|object_type|reference_type)[:=].*", "", text)
