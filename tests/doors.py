"""The scripts of the project in processes of their own, forked from one that has imported what takes long. No test."""

import multiprocessing
import os
import resource
import runpy
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from diffusion_lab.config.tree import conf_dir

#: One process that has imported what takes long; its forks are real processes. (It does not have the path of the tests,
#: and would skip a module of theirs without a word.)
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["diffusion_lab.runs.train", "diffusion_lab.runs.run_figures", "sklearn.datasets"])


@dataclass
class Ended:
    """How a script ended: its status (negative: a signal), what it printed, its seconds, and its memory in MiB."""

    status: int | None
    out: str
    err: str
    seconds: float
    memory: float


def _typed(script, arguments, folder, environment, largest_file):
    """In the child: run the script with its output in files of `folder`."""
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.update(environment)
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))  # as Python does when it starts
    os.chdir(folder)
    path = conf_dir().parent / "scripts" / f"{script}.py"
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        Path(folder, "memory").write_text(str(peak), encoding="utf-8")


def typed(script, arguments, folder, seconds=100, largest_file=None, **environment):
    """Run a script to its end, or kill it after `seconds`; with `largest_file`, no file can have more bytes than that.

    The system then answers as it does on a full disk: in the middle of a file, whoever writes it.
    """
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    child = SERVER.Process(
        target=_typed, args=(script, list(map(str, arguments)), str(folder), environment, largest_file)
    )
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
    texts = [(folder / name).read_text(errors="replace") for name in ("out", "err")]
    memory = folder / "memory"
    peak = float(memory.read_text()) if memory.is_file() else 0.0
    return Ended(child.exitcode, *texts, time.monotonic() - start, peak)
