"""The door that every script goes through. Imports neither torch nor Lightning: `--help` answers at once."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from diffusion_lab.config.changes import as_changes
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import INTERRUPTED_STATUS, LabError, RunInterrupted

DEBUG_VARIABLE = "DIFFUSION_LAB_DEBUG"


def run(config_name: str, task: Callable[[Any], Any], groups_of_the_run: Sequence[str] = ()) -> None:
    """Compose `config_name` with the command line's overrides and run `task` on it.

    Of `groups_of_the_run` a recorded run has its own options, whose keys can be typed without choosing another one.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        from diffusion_lab.config.help import help_text

        print(help_text(config_name), end="")
        return

    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    argparse.ArgumentParser.error = _usage_error  # type: ignore[method-assign, assignment]  # of Hydra's own parser
    sys.argv[1:] = as_changes(sys.argv[1:], groups_of_the_run)
    # Hydra's parser takes no flag after an override.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))

    @functools.wraps(task)
    def guarded_task(cfg: Any) -> Any:
        # Inside Hydra too: it would add a line of its own to an exception that passes through it.
        return guarded(lambda: task(cfg))

    entry = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    guarded(lambda: entry(guarded_task)(), config_name)


def guarded(work: Callable[[], Any], config_name: str = "train") -> None:
    """Do the work; whatever goes wrong ends in one line and a status, with a traceback if asked for.

    `config_name` is the config that was being composed, for a better line about its keys.
    """
    try:
        work()
    except RunInterrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(interruption.status)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        print(f"Error: {one_line(error, config_name)}", file=sys.stderr)
        sys.exit(1)


def one_line(error: BaseException, config_name: str = "train") -> str:
    """What a person needs to know of an error."""
    if isinstance(error, LabError):
        return " ".join(str(error).split())
    of_hydra = type(error).__module__.split(".")[0] in ("hydra", "omegaconf", "antlr4")
    if of_hydra or "Config group override" in str(error):
        from diffusion_lab.config.composition import explained

        return explained(error, config_name)
    return f"{type(error).__name__}: {' '.join(str(error).split())} (a traceback: {DEBUG_VARIABLE}=1)"


def _usage_error(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    print(f"Error: {' '.join(message.split())} (see --help)", file=sys.stderr)
    sys.exit(2)
