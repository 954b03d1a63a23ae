"""Put deliberate faults into the code, one at a time, and see which of them the tests catch.

    python tests/mutation/run.py                       # all areas, as they are committed; takes hours
    python tests/mutation/run.py training --count 20   # some of one area
    python tests/mutation/run.py --survivors           # once more those that survived
    python tests/mutation/run.py runs --only 3b2e 90ac # those whose keys begin so; the table is left as it is

The faults of an area are a sample of all that `mutants.mutants_of` finds: those with the smallest hashes, so that it
changes only where the code does. First the tests of the area run once, and are asked which lines each executes. Then
each fault runs against the tests that execute its line, or its file where none is known to execute the line, those of
the mirrored file first, until one fails.

Each fault is tried in a copy of the project by a process of its own, which begins as a copy of one that has imported
torch and the like, and has not computed anything: threads would be lost in the copy.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from areas import AREAS, READS_SIGNATURES, ROOT, Area
from mutants import Mutant, mutants_of
from report import RESULTS, write_report
from tqdm import tqdm

#: Imported before anything else, since it takes seconds.
_HEAVY = (
    "torch", "pytorch_lightning", "torchmetrics", "torchvision", "hydra", "omegaconf", "numpy", "scipy.stats",
    "scipy.integrate", "scipy.linalg", "sklearn.datasets", "sklearn.neighbors", "matplotlib.pyplot", "pytest",
    "PIL.Image", "mpmath", "yaml", "jinja2", "tokenizers", "coverage", "torch.utils.tensorboard", "torch._dynamo",
)  # fmt: skip

#: How many tests are tried first, and for how many seconds of tests a fault is tried in all.
_FIRST, _SECONDS = 12, 90.0
#: A fault may take this many times as long as the tests take without it, and so many seconds more.
_SLOWER, _MORE_SECONDS = 5, 30.0

#: What pytest ends with if all passed, if some failed, and if there were none.
_RAN = (0, 1, 5)

#: The warning is of plugins that `_HEAVY` has imported before pytest could.
_PYTEST = (
    "-q", "-x", "-m", "not full", "-p", "no:cacheprovider", "--tb=no", "--no-header",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What the tests of an area do without a fault.

    Attributes:
        seconds: that each takes, by its name.
        of_lines: the tests that execute a line, by file and line; under the line 0 all that touch the file.
        at_import: the lines that are executed when a module is imported, by file.
    """

    seconds: Mapping[str, float]
    of_lines: Mapping[str, Mapping[int, frozenset[str]]]
    at_import: Mapping[str, frozenset[int]]

    def against(self, file: str, mutant: Mutant) -> list[str]:
        """Return the tests that a fault is tried with, in their order."""
        lines = range(mutant.line, mutant.last_line + 1)
        of_file = self.of_lines.get(file, {})
        # A line that none executes may be one that a process forked by a test does, where coverage does not look.
        found = frozenset().union(*(of_file.get(line, frozenset()) for line in lines)) or of_file.get(0, frozenset())
        if any(line in self.at_import.get(file, frozenset()) for line in lines):
            found |= of_file.get(0, frozenset())
            found |= {test for test in self.seconds if test.startswith(f"tests/{READS_SIGNATURES}::")}
        mirrored = f"test_{Path(file).name}::"
        return sorted(found, key=lambda test: (mirrored not in test, self.seconds[test], test))


class Copy:
    """A copy of the project, in which one file at a time has a fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        author = ("-c", "user.name=mutants", "-c", "user.email=mutants@localhost", "-c", "commit.gpgsign=false")
        for command in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message=copy"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        self._changes = 0

    def tried(self, file: str, mutant: Mutant, tests: Record) -> dict[str, Any]:
        """Return what becomes of a fault: ``caught`` and by which test, or ``survived`` and how many."""
        names = tests.against(file, mutant)
        if not names:
            return {"result": "survived", "test": "", "tests": 0}
        path = self.folder / file
        source, before = path.read_bytes(), path.stat()
        path.write_bytes(mutant.applied(source))
        self._changes += 1  # another time than that of the compiled file, which is of the source without the fault
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + self._changes * 10**9))
        try:
            return self._run(names, tests)
        finally:
            path.write_bytes(source)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _run(self, names: Sequence[str], tests: Record) -> dict[str, Any]:
        rest, seconds = list(names[_FIRST:]), 0.0
        stages = [list(names[:_FIRST]), []]
        for name in rest:
            seconds += tests.seconds[name]
            if seconds > _SECONDS:
                break
            stages[1].append(name)
        for stage in filter(None, stages):
            limit = _MORE_SECONDS + _SLOWER * sum(tests.seconds[name] for name in stage)
            status, failed = in_child(self.folder, partial(pytest_status, stage, self.folder / "failed"), limit)
            if status is None:
                return {"result": "caught", "test": "(out of time)", "tests": len(stage)}
            if status != 0:
                return {"result": "caught", "test": failed or f"(pytest ends with {status})", "tests": len(stage)}
        return {"result": "survived", "test": "", "tests": sum(map(len, stages))}


def in_child(folder: Path, work: Callable[[], int], limit: float) -> tuple[int | None, str]:
    """Do some work in a copy of this process, in a folder; return its status and what it wrote into ``failed``.

    The status is None if it took more than `limit` seconds.
    """
    (folder / "failed").unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            out = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.chdir(folder)
            sys.path.insert(0, str(folder / "src"))
            status = work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            status = 70
        os._exit(status)
    ends = time.monotonic() + limit
    status: int | None = None
    while status is None and time.monotonic() < ends:
        done, raw = os.waitpid(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(raw)
        else:
            time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # with what it has left behind
    if status is None:
        os.waitpid(child, 0)
    failed = folder / "failed"
    return status, failed.read_text(encoding="utf-8") if failed.is_file() else ""


class _FirstFailure:
    """A plugin of pytest that writes the name of the first test that fails."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.file.exists():
            self.file.write_text(report.nodeid, encoding="utf-8")


def pytest_status(names: Iterable[str], failed: Path) -> int:
    """Run tests in this process."""
    import pytest

    os.environ.update(PYTHONPATH=str(failed.parent / "src"), PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    return int(pytest.main([*_PYTEST, *names], plugins=[_FirstFailure(failed)]))


class _Recorder:
    """A plugin of pytest that writes how long each test takes, and tells coverage which one runs."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self.failed.add(report.nodeid)

    def pytest_runtest_logfinish(self) -> None:
        self.coverage.switch_context("")


#: Behind a test's name in what pytest tells the processes that it starts.
_PHASE = re.compile(r" \((setup|call|teardown)\)$")

#: Each process of a test has the test's name from pytest.
_OF_OTHERS = """[run]
parallel = true
data_file = {folder}/others/lines
source = {folder}/src
context = ${{PYTEST_CURRENT_TEST-}}
disable_warnings = no-data-collected, module-not-measured
"""


def _record(folder: Path, names: Sequence[str]) -> int:
    """Run tests under coverage, and write what they do into ``recorded.json``."""
    import coverage
    import pytest

    others = folder / "others"  # what the processes execute that tests start
    shutil.rmtree(others, ignore_errors=True)  # of another area
    others.mkdir()
    (others / "sitecustomize.py").write_text("import coverage\n\ncoverage.process_startup()\n", encoding="utf-8")
    (others / "coveragerc").write_text(_OF_OTHERS.format(folder=folder), encoding="utf-8")
    os.environ.update(
        PYTHONPATH=f"{folder / 'src'}{os.pathsep}{others}", COVERAGE_PROCESS_START=f"{others / 'coveragerc'}"
    )
    lines = coverage.Coverage(data_file=None, source=[str(folder / "src")], config_file=False)
    recorder = _Recorder(lines)
    lines.start()
    status = pytest.main([*(one for one in _PYTEST if one != "-x"), *names], plugins=[recorder])
    lines.stop()
    executed: dict[str, dict[int, list[str]]] = {}
    for data in [lines.get_data(), *(coverage.CoverageData(str(file)) for file in others.glob("lines.*"))]:
        data.read()
        for file in data.measured_files():
            for line, names in data.contexts_by_lineno(file).items():
                of_file = executed.setdefault(str(Path(file).relative_to(folder)), {})
                of_file.setdefault(line, []).extend(_PHASE.sub("", name) for name in names)
    found = {"status": int(status), "seconds": recorder.seconds, "failed": sorted(recorder.failed), "lines": executed}
    (folder / "recorded.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


def recorded(area: Area, copies: Sequence[Copy]) -> Record:
    """Run the tests of an area without a fault, and return what they do."""
    files = sorted({file for name in area.tests for file in _test_files(ROOT / "tests" / name)})
    shares = [files[number :: len(copies)] for number in range(len(copies))]
    for copy in copies:
        (copy.folder / "recorded.json").unlink(missing_ok=True)
    pool = [
        multiprocessing.get_context("fork").Process(
            target=in_child, args=(copy.folder, partial(_record, copy.folder, share), 3600.0)
        )
        for copy, share in zip(copies, shares, strict=True)
        if share
    ]
    for process in pool:
        process.start()
    for process in pool:
        process.join()
    seconds: dict[str, float] = {}
    of_lines: dict[str, dict[int, set[str]]] = {}
    at_import: dict[str, set[int]] = {}
    for copy, share in zip(copies, shares, strict=True):
        if not share:
            continue
        there = (copy.folder / "recorded.json").is_file()
        found = json.loads((copy.folder / "recorded.json").read_text(encoding="utf-8")) if there else {}
        if found.get("status") not in _RAN:
            sys.exit(f"the tests cannot be run:\n{(copy.folder / 'output').read_text(encoding='utf-8')}")
        failed = set(found["failed"])
        for name in failed:
            print(f"{name} fails or is skipped without a fault, and is left out", flush=True)
        seconds |= {name: value for name, value in found["seconds"].items() if name not in failed}
        for file, lines in found["lines"].items():
            for line, names in lines.items():
                passed = set(names) - failed - {""}
                for place in (int(line), 0):
                    of_lines.setdefault(file, {}).setdefault(place, set()).update(passed)
                if "" in names:
                    at_import.setdefault(file, set()).add(int(line))
    return Record(
        seconds,
        {file: {line: frozenset(names) for line, names in lines.items()} for file, lines in of_lines.items()},
        {file: frozenset(lines) for file, lines in at_import.items()},
    )


def _test_files(place: Path) -> list[str]:
    found = [place] if place.is_file() else sorted(place.rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in found]


def sample(area: Area, root: Path, count: int, seed: int) -> list[tuple[str, Mutant]]:
    """Return so many mutants of an area, each with its file: those whose keys have the smallest hashes."""
    found = [(str(file), mutant) for file in area.files(root) for mutant in mutants_of((root / file).read_bytes())]
    found.sort(key=lambda pair: hashlib.sha256(f"{seed} {pair[1].key(pair[0])}".encode()).hexdigest())
    return sorted(found[:count], key=lambda pair: (pair[0], pair[1].start, pair[1].after))


def _work(copy: Copy, tests: Record, jobs: Any, results: Any) -> None:
    while (job := jobs.get()) is not None:
        file, mutant = job
        began = time.monotonic()
        result = copy.tried(file, mutant, tests)
        results.put((file, mutant, {**result, "seconds": round(time.monotonic() - began, 1)}))


def tried(
    chosen: Sequence[tuple[str, Mutant]], tests: Record, copies: Sequence[Copy], title: str
) -> list[dict[str, Any]]:
    """Try faults, and return a row for each."""
    context = multiprocessing.get_context("fork")
    jobs, results = context.Queue(), context.Queue()
    for job in [*chosen, *(None for _ in copies)]:
        jobs.put(job)
    workers = [context.Process(target=_work, args=(copy, tests, jobs, results)) for copy in copies]
    for worker in workers:
        worker.start()
    rows = []
    with tqdm(total=len(chosen), desc=title, unit="mutant", mininterval=1) as bar:
        for _ in chosen:
            file, mutant, result = results.get()
            place = {name: value for name, value in asdict(mutant).items() if name in ("line", "operator", "function")}
            texts = {name: " ".join(getattr(mutant, name).split()) for name in ("before", "after")}
            rows.append({"key": mutant.key(file), "file": file, **place, **texts, **result})
            bar.update()
            bar.set_postfix(survived=sum(row["result"] == "survived" for row in rows))
    for worker in workers:
        worker.join()
    return sorted(rows, key=lambda row: (row["file"], row["line"], row["key"]))


def main() -> None:
    """Try the faults of the areas that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("areas", nargs="*", choices=[*AREAS, []], help=f"{', '.join(AREAS)}; all without any")
    parser.add_argument("--count", type=int, default=100, help="faults of each area")
    parser.add_argument("--seed", type=int, default=0, help="another seed chooses other faults")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="how many are tried at a time")
    parser.add_argument("--survivors", action="store_true", help="try once more those that survived, by the table")
    parser.add_argument("--only", nargs="+", metavar="KEY", default=[], help="beginnings of keys")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the table")
    chosen = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    for name in _HEAVY:
        importlib.import_module(name)
    rows: list[dict[str, Any]] = []
    if chosen.out.is_file():
        with chosen.out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as place:
        copies = []
        for number in range(chosen.workers):
            folder = Path(place).resolve() / str(number)
            folder.mkdir()
            copies.append(Copy(folder))
        for name in chosen.areas or AREAS:
            tests = recorded(AREAS[name], copies)
            faults = sample(AREAS[name], copies[0].folder, chosen.count, chosen.seed)
            if chosen.only:
                some = [one for one in faults if one[1].key(one[0]).startswith(tuple(chosen.only))]
                for row in tried(some, tests, copies, name):
                    print(row["key"], row["result"], row["test"], f"({row['tests']} tests)", flush=True)
                continue
            present = {mutant.key(file) for file, mutant in faults}
            caught = [row for row in rows if row["area"] == name and row["result"] == "caught"]
            kept = [row for row in caught if chosen.survivors and row["key"] in present]
            again = [one for one in faults if one[1].key(one[0]) not in {row["key"] for row in kept}]
            rows = [row for row in rows if row["area"] != name]
            rows += [*kept, *({"area": name, **row} for row in tried(again, tests, copies, name))]
            write_report(rows, chosen.out)


if __name__ == "__main__":
    main()
