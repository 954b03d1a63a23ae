"""Consoles: what a run shows on the terminal, as text for people, as JSON for programs, or almost nothing.

All messages go to the `current` console, which `use` sets. Each message is an event that has a text for people and
data for programs.
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

from diffusion_lab.errors import RunInterrupted, printable
from diffusion_lab.machine.progress_bars import can_show_bars


@dataclass(frozen=True)
class Row:
    """A row of the table at the start of a run: its label, `text` for people, and a JSON value for programs."""

    label: str
    text: str
    data: Any


class Console:
    """Shows nothing. The base class of the others, and the console of every process of a run but rank 0.

    Attributes:
        bar: whether progress bars are drawn (on stderr).
        redirects_stdout: whether what libraries and `print` write to stdout goes to stderr.
    """

    redirects_stdout = True

    def __init__(self) -> None:
        self.stdout: TextIO = sys.stdout  # kept, since `use` may redirect sys.stdout to stderr

    @property
    def bar(self) -> bool:
        return False

    def start(self, rows: Sequence[Row]) -> None:
        """Show the table at the start of a run."""

    def event(self, name: str, text: str | None, /, **data: Any) -> None:
        """Show an event: `text` to people, nothing if it is None; `name` and `data` to programs."""

    def note(self, text: str) -> None:
        """Show a remark."""
        self.event("note", text, text=text)

    def warning(self, text: str) -> None:
        """Show a warning about something that the user can and should change."""

    def end(self, path: Path, text: str, /, **data: Any) -> None:
        """Show that all is done, with the results in `path`."""

    def stopped(self, name: str, text: str) -> None:
        """Show to programs that the run ended early: `name` is ``interrupted`` or ``failed``.

        People see the error itself, which its handler prints to stderr.
        """


class Text(Console):
    """Text for people: a table, a line for each epoch, a summary."""

    redirects_stdout = False

    @property
    def bar(self) -> bool:
        return can_show_bars()

    def start(self, rows: Sequence[Row]) -> None:
        width = max(len(row.label) for row in rows) + 2
        self._write("\n".join(f"{row.label:{width}}{row.text}" for row in rows))

    def event(self, name: str, text: str | None, /, **data: Any) -> None:
        if text is not None:
            self._write(text)

    def warning(self, text: str) -> None:
        tqdm.write(printable(f"Warning: {text}"), file=sys.stderr)

    def end(self, path: Path, text: str, /, **data: Any) -> None:
        self._write(text)

    def _write(self, text: str) -> None:
        tqdm.write(printable(text), file=sys.stdout)  # above the bar, if there is one
        sys.stdout.flush()


class Quiet(Console):
    """Warnings, and at the end the path of the results."""

    def warning(self, text: str) -> None:
        print(printable(f"Warning: {text}"), file=sys.stderr, flush=True)

    def end(self, path: Path, text: str, /, **data: Any) -> None:
        print(printable(str(path)), file=self.stdout, flush=True)


class Bar(Console):
    """Progress bars where somebody sees them, and warnings: for Python, which is given the run itself."""

    @property
    def bar(self) -> bool:
        return can_show_bars()

    def warning(self, text: str) -> None:
        tqdm.write(printable(f"Warning: {text}"), file=sys.stderr)


class Json(Console):
    """JSON for programs: each line of stdout is an object with ``event`` and, once there is one, ``run_folder``.

    Numbers have full precision; those that JSON cannot write (NaN, infinity) are null.
    """

    def __init__(self) -> None:
        super().__init__()
        self._common: dict[str, Any] = {}

    def start(self, rows: Sequence[Row]) -> None:
        data = {row.label.replace(" ", "_"): row.data for row in rows}
        self._common = {"run_folder": data["run_folder"]} if "run_folder" in data else {}
        self.event("start", None, **data)

    def event(self, name: str, text: str | None, /, **data: Any) -> None:
        line = json.dumps(_json_value({"event": name, **self._common, **data}), ensure_ascii=False, allow_nan=False)
        # JSON itself escapes only some of the characters that control a terminal.
        line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line)
        print(line, file=self.stdout, flush=True)

    def warning(self, text: str) -> None:
        self.event("note", text, level="warning", text=text)

    def end(self, path: Path, text: str, /, **data: Any) -> None:
        self.event("end", text, path=path, **data)

    def stopped(self, name: str, text: str) -> None:
        self.event(name, text, text=text)


_current: Console = Text()


def current() -> Console:
    """Return the console that is in use."""
    return _current


@contextlib.contextmanager
def use(console: Console) -> Iterator[Console]:
    """Make `console` the current one in the block; if the block ends with an error, it shows that to programs."""
    global _current
    previous, _current = _current, console
    try:
        with contextlib.redirect_stdout(sys.stderr) if console.redirects_stdout else contextlib.nullcontext():
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
    """Format a number of seconds for people: ``48 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def loss(value: float) -> str:
    """Format a loss for people: ``0.0427``, or ``2.750e+16`` where four decimals would say too little or too much."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
