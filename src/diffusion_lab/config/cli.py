"""Entry point of the scripts. It imports neither torch nor Lightning, so that `--help` is printed at once."""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from diffusion_lab.config.annotations import text_keys
from diffusion_lab.config.command_names import as_typed
from diffusion_lab.config.overrides import check_options, own_config_dirs, readable_overrides, set_in_each_job
from diffusion_lab.config.terminal import take_any_text
from diffusion_lab.config.tree import conf_dir, use_config_dirs
from diffusion_lab.errors import INTERRUPTED_STATUS, LabError, RunInterrupted, printable
from diffusion_lab.machine.disk_errors import is_unwritable

DEBUG_VARIABLE = "DIFFUSION_LAB_DEBUG"

#: Flags of Hydra that each say what is to be done.
_EXCLUSIVE = ("run", "multirun", "cfg", "info", "shell_completion")


def run(config_name: str, task: Callable[[Any], Any], rewrite: Callable[[Sequence[str]], list[str]] = list) -> None:
    """Compose `config_name` with the command line's overrides and run `task` on it.

    Args:
        config_name: of the file in conf/.
        task: function of the composed config.
        rewrite: what the script itself makes of a command line, before Hydra reads it.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        exit_on_error(lambda: print_help(config_name))
        return

    import hydra

    share_the_cores()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    argparse.ArgumentParser.error = _usage_error  # type: ignore[method-assign, assignment]  # of Hydra's own parser

    @functools.wraps(task)
    def task_in_hydra(cfg: Any) -> Any:
        # Errors are also handled here, inside Hydra, which would print a line of its own about an exception.
        return exit_on_error(lambda: task(cfg))

    entry = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)

    def work() -> None:
        sys.argv[1:] = rewrite(readable_arguments(sys.argv[1:], config_name))
        entry(task_in_hydra)()

    exit_on_error(work, config_name)


def share_the_cores() -> None:
    """Let threads that wait for each other leave the cores to other work, before torch is loaded.

    By default those of GNU OpenMP, torch's on Linux, try 300,000 times first: beside other busy processes that costs
    many times the share of the cores that a run has. There it is 1,000 times, which on a machine of its own would slow
    a small transformer down by a sixth; 30,000 slows no run down there. This changes nothing of what is computed. A
    setting of the user's own in the environment is left as it is.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ["GOMP_SPINCOUNT"] = "1000" if others_are_busy() else "30000"


def others_are_busy(load: Path = Path("/proc/loadavg")) -> bool:
    """Return whether other programs would use half of the machine's cores or more, at this moment.

    Args:
        load: where Linux counts what runs or waits for a core; on other systems there is none, and the answer is no.
    """
    counts = []
    try:
        for _ in range(5):
            counts.append(int(load.read_text(encoding="ascii").split()[3].split("/")[0]))
            time.sleep(0.002)
    except (OSError, ValueError, IndexError):
        return False
    return statistics.median(counts) - 1 >= (os.cpu_count() or 1) / 2  # without this process


def print_help(config_name: str) -> None:
    """Print the help of the script whose config is `config_name`."""
    from diffusion_lab.config.help import help_text

    print(help_text(config_name), end="")


def readable_arguments(arguments: Sequence[str], config_name: str) -> list[str]:
    """Return a command line as Hydra can read it: its flags first, then the overrides; see `readable_overrides`."""
    from hydra._internal.utils import get_args_parser

    from diffusion_lab.config.settings import SCHEMAS

    typed = get_args_parser().parse_known_intermixed_args(arguments)[0]
    if len(chosen := [f"--{flag}" for flag in _EXCLUSIVE if getattr(typed, flag)]) > 1:
        raise LabError(f"{' and '.join(chosen)} cannot be typed together: each is another thing to do")
    overrides, flags = list(typed.overrides), []
    for argument in arguments:
        if typed.overrides and argument == typed.overrides[0]:
            del typed.overrides[0]
        else:
            flags.append(argument)
    texts = text_keys(SCHEMAS[config_name])
    overrides = readable_overrides(overrides, texts, sweeps=typed.multirun)
    use_config_dirs(own_config_dirs(typed.config_dir, overrides))
    check_options(overrides)
    return [*flags, *(set_in_each_job(overrides) if typed.multirun else overrides)]


def exit_on_error(work: Callable[[], Any], config_name: str = "train") -> None:
    """Call `work`; on an error, print it in one line and exit with a status other than 0.

    The environment variable DIFFUSION_LAB_DEBUG adds the traceback. `config_name` is the config that was being
    composed: its keys are suggested where one does not exist.
    """
    take_any_text()
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
        print(printable(as_typed(f"Error: {one_line(error, config_name)}")), file=sys.stderr)
        sys.exit(1)


def one_line(error: BaseException, config_name: str = "train") -> str:
    """Return the message of an error in one line; that of Hydra or OmegaConf in this project's words."""
    if isinstance(error, LabError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and is_unwritable(error):
        return f"cannot write {error.filename or 'a file'}: {error.strerror}"
    of_hydra = type(error).__module__.split(".")[0] in ("hydra", "omegaconf", "antlr4")
    if of_hydra or "Config group override" in str(error):
        from diffusion_lab.config.composition_errors import explain

        return explain(error, config_name)
    return f"{type(error).__name__}: {' '.join(str(error).split())} (a traceback: {DEBUG_VARIABLE}=1)"


def _usage_error(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    print(printable(f"Error: {' '.join(message.split())} (see --help)"), file=sys.stderr)
    sys.exit(2)
