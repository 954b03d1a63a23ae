"""What a run says on the terminal, and how: for people, for scripts, or hardly at all.

Whoever has something to say tells the `current` console; `speaking` decides which one that is. Everything is an event
with a text for people and facts for programs.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from diffusion_lab.errors import RunInterrupted


@dataclass(frozen=True)
class Row:
    """A line of the table that a run starts with: `text` for people, `facts` for programs."""

    label: str
    text: str
    facts: Any


class Console:
    """Says nothing but errors and warnings: what the processes that rank 0 started are.

    Attributes:
        bar: whether progress bars are drawn (on stderr).
        shares_stdout: whether others (libraries, `print`) may write to stdout; where not, it goes to stderr.
    """

    shares_stdout = False

    def __init__(self) -> None:
        self.stdout: TextIO = sys.stdout  # kept, for `speaking` gives the name to stderr

    @property
    def bar(self) -> bool:
        return False

    def start(self, rows: Sequence[Row]) -> None:
        """A run begins."""

    def event(self, name: str, text: str | None, /, **facts: Any) -> None:
        """Something happened; a `text` of None is not worth a line to people."""

    def note(self, text: str) -> None:
        """A remark."""
        self.event("note", text, text=text)

    def warning(self, text: str) -> None:
        """Something that the person can and should change."""

    def end(self, path: Path, text: str, /, **facts: Any) -> None:
        """All is done; the results lie in `path`."""

    def stopped(self, name: str, text: str) -> None:
        """It ended early: ``interrupted`` or ``failed``. People are told on stderr, by who catches the error."""


class Text(Console):
    """For people: a table, a line for each epoch, a summary."""

    shares_stdout = True

    @property
    def bar(self) -> bool:
        return sys.stderr.isatty()

    def start(self, rows: Sequence[Row]) -> None:
        width = max(len(row.label) for row in rows) + 2
        self._write("\n".join(f"{row.label:{width}}{row.text}" for row in rows))

    def event(self, name: str, text: str | None, /, **facts: Any) -> None:
        if text is not None:
            self._write(text)

    def warning(self, text: str) -> None:
        tqdm.write(f"Warning: {text}", file=sys.stderr)

    def end(self, path: Path, text: str, /, **facts: Any) -> None:
        self._write(text)

    def _write(self, text: str) -> None:
        tqdm.write(text, file=sys.stdout)  # above the bar, if there is one
        sys.stdout.flush()


class Quiet(Console):
    """Errors and warnings, and at the end the path of the results."""

    def warning(self, text: str) -> None:
        print(f"Warning: {text}", file=sys.stderr, flush=True)

    def end(self, path: Path, text: str, /, **facts: Any) -> None:
        print(path, file=self.stdout, flush=True)


class Json(Console):
    """For programs: each line of stdout is a JSON object with ``event`` and, once there is one, ``run_folder``.

    Numbers have full precision; one that JSON cannot write (NaN, infinity) is null.
    """

    def __init__(self) -> None:
        super().__init__()
        self._always: dict[str, Any] = {}

    def start(self, rows: Sequence[Row]) -> None:
        facts = {row.label.replace(" ", "_"): row.facts for row in rows}
        self._always = {"run_folder": facts["run_folder"]} if "run_folder" in facts else {}
        self.event("start", None, **facts)

    def event(self, name: str, text: str | None, /, **facts: Any) -> None:
        line = json.dumps(_plain({"event": name, **self._always, **facts}), ensure_ascii=False, allow_nan=False)
        print(line, file=self.stdout, flush=True)

    def warning(self, text: str) -> None:
        self.event("note", text, level="warning", text=text)

    def end(self, path: Path, text: str, /, **facts: Any) -> None:
        self.event("end", text, path=path, **facts)

    def stopped(self, name: str, text: str) -> None:
        self.event(name, text, text=text)


_current: Console = Text()


def current() -> Console:
    """The console of the run under way."""
    return _current


@contextlib.contextmanager
def speaking(console: Console) -> Iterator[Console]:
    """Make `console` the current one; it is told if the work inside ends early."""
    global _current
    previous, _current = _current, console
    try:
        with contextlib.nullcontext() if console.shares_stdout else contextlib.redirect_stdout(sys.stderr):
            yield console
    except (RunInterrupted, KeyboardInterrupt) as error:
        console.stopped("interrupted", str(error) or "Interrupted.")
        raise
    except Exception as error:
        console.stopped("failed", " ".join(str(error).split()))
        raise
    finally:
        _current = previous


def duration(seconds: float) -> str:
    """Seconds as people say them: ``48 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
