"""Entry point of the scripts. It imports neither torch nor Lightning, so that `--help` is printed at once."""

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
from diffusion_lab.errors import INTERRUPTED_STATUS, LabError, RunInterrupted, printable

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
    def task_in_hydra(cfg: Any) -> Any:
        # Errors are also handled here, inside Hydra, which would print a line of its own about an exception.
        return exit_on_error(lambda: task(cfg))

    entry = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    exit_on_error(lambda: entry(task_in_hydra)(), config_name)


def exit_on_error(work: Callable[[], Any], config_name: str = "train") -> None:
    """Call `work`; on an error, print it in one line and exit with a status other than 0.

    The environment variable DIFFUSION_LAB_DEBUG adds the traceback. `config_name` is the config that was being
    composed: its keys are suggested where one does not exist.
    """
    try:
        work()
    except RunInterrupted as interruption:
        print(printable(str(interruption)), file=sys.stderr)
        sys.exit(interruption.status)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            print(printable(traceback.format_exc()), file=sys.stderr)
        print(printable(f"Error: {one_line(error, config_name)}"), file=sys.stderr)
        sys.exit(1)


def one_line(error: BaseException, config_name: str = "train") -> str:
    """Return the message of an error in one line; that of Hydra or OmegaConf in this project's words."""
    if isinstance(error, LabError):
        return " ".join(str(error).split())
    of_hydra = type(error).__module__.split(".")[0] in ("hydra", "omegaconf", "antlr4")
    if of_hydra or "Config group override" in str(error):
        from diffusion_lab.config.composition_errors import explain

        return explain(error, config_name)
    return f"{type(error).__name__}: {' '.join(str(error).split())} (a traceback: {DEBUG_VARIABLE}=1)"


def _usage_error(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    print(printable(f"Error: {' '.join(message.split())} (see --help)"), file=sys.stderr)
    sys.exit(2)
