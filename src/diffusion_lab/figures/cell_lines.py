"""Lines of tokens in cells, each on a colour of its own, as a picture."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

#: It comes with matplotlib.
_FONT = "DejaVu Sans Mono"
#: At this many dots per inch a character of this size in points is just this wide, in inches.
_DPI, _POINTS, _ADVANCE = 150, 7.97, 10 / 150
#: In inches, the height of a line, where in it the letters stand, and the space above one that stands by itself.
_LINE, _BASE, _APART = 20 / 150, 14 / 150, 0.075
#: Heights of a line of the title, of a heading and of the legend.
_TITLE, _HEADING, _LEGEND = 0.2, 0.36, 0.3
#: Between two cells.
_SLIT = 1 / 150
_MARGIN = 0.2
_INK = "#1a1a1a"
_MONOSPACED = {"family": _FONT, "fontsize": _POINTS}

#: The most cells of a line in a picture; a longer one is cut into parts of nearly equal length.
MOST_CELLS = 96
#: The longest token; a longer one is cut.
_LONGEST = 16

#: What is written for characters that would leave no trace.
_SIGNS = {" ": "·", "\n": "↵", "\t": "⇥"}
#: Of what is written, that which stands for white space.
QUIET = frozenset(_SIGNS.values())


def visible(text: str) -> str:
    """Return a text in which every character is seen: `·` for a space, `↵` for a line end, `�` for what has no sign."""
    return "".join(_SIGNS.get(sign, sign if _stands_alone(sign) else "\N{REPLACEMENT CHARACTER}") for sign in text)


def _stands_alone(sign: str) -> bool:
    return sign.isprintable() and not unicodedata.combining(sign)


def in_cell(text: str) -> str:
    """Return what is written in the cell of a token: `visible`, and not too long."""
    seen = visible(text)
    return seen if len(seen) <= _LONGEST else f"{seen[: _LONGEST - 1]}…"


def cut(widths: Sequence[int], most: int = MOST_CELLS) -> list[slice]:
    """Return the parts of a line whose positions have these widths: each is at most `most` wide, and nearly equal."""
    aim = -(-sum(widths) // max(1, -(-sum(widths) // most)))
    parts, start, filled = [], 0, 0
    for place, width in enumerate(widths):
        if place > start and (filled + width > most or filled >= aim):
            parts.append(slice(start, place))
            start, filled = place, 0
        filled += width
    return [*parts, slice(start, len(widths))]


@dataclass(frozen=True)
class Cell:
    """The text of a cell.

    Attributes:
        text: of the cell.
        face: its colour; None for none.
        ink: the colour of what is written.
        in_text: is written in a text where the colour alone says it in a picture.
        mark: a character that stands below it in a text, for its colour.
    """

    text: str
    face: str | None = None
    ink: str = _INK
    in_text: str = ""
    mark: str = " "


@dataclass(frozen=True)
class Line:
    """A line of cells.

    Attributes:
        label: is written before it.
        cells: from left to right.
        close: whether it belongs to the line above it.
    """

    label: str
    cells: Sequence[Cell]
    close: bool = False


@dataclass(frozen=True)
class Group:
    """Lines in which the cells of a position stand below one another.

    Attributes:
        heading: above them; empty for none.
        lines: of equally many cells.
    """

    heading: str
    lines: Sequence[Line]

    def widths(self) -> list[int]:
        """Return the width of each position, in characters."""
        rows = [line.cells for line in self.lines]
        return [max(1, *(len(cell.text) for cell in column)) for column in zip(*rows, strict=True)]

    def parts(self) -> Iterator[tuple[Line, slice, bool]]:
        """Yield the parts that each line is cut into, and whether it is the first."""
        cuts = cut(self.widths())
        for line in self.lines:
            for number, part in enumerate(cuts):
                yield line, part, number == 0


@dataclass(frozen=True)
class Key:
    """An entry of the legend: one colour, or a scale of them from 0 to 1, and what it means."""

    faces: Sequence[str]
    meaning: str


def write_cells(title: str, groups: Sequence[Group]) -> str:
    """Write groups of lines below one another; below each line the marks of its cells, if it has any."""
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, 100)]
    indent = _indent(groups)
    for group in groups:
        lines += ["", *textwrap.wrap(group.heading, 100)]
        widths = group.widths()
        for line, part, first in group.parts():
            cells = list(zip(line.cells[part], widths[part], strict=True))
            written = "".join((cell.in_text or cell.text).ljust(width) for cell, width in cells)
            marks = "".join(
                (cell.mark * len((cell.in_text or cell.text).rstrip())).ljust(width) for cell, width in cells
            )
            lines += [f"{line.label if first else '':{indent}}{written}".rstrip()]
            lines += [" " * indent + marks.rstrip()] if marks.strip() else []
    return "\n".join(lines) + "\n"


def _indent(groups: Sequence[Group]) -> int:
    return 2 + max(len(line.label) for group in groups for line in group.lines)


def draw_cells(title: str, groups: Sequence[Group], keys: Sequence[Key]) -> Figure:
    """Draw groups of lines below one another, with a title above and a legend below."""
    left = _MARGIN + _ADVANCE * _indent(groups)
    widths = [group.widths() for group in groups]
    widest = max(sum(row[part]) for row in widths for part in cut(row))
    width = max(left + widest * _ADVANCE + _MARGIN, 5.5)
    # The widths of a letter of these sizes, nearly.
    titles = [part for line in title.splitlines() for part in textwrap.wrap(line, int((width - 2 * _MARGIN) / 0.095))]
    headings = [textwrap.wrap(group.heading, int((width - 2 * _MARGIN) / 0.087)) for group in groups]
    figure = Figure(dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    y = _MARGIN
    for number, line in enumerate(titles):
        _write(axes, _MARGIN, y + 0.13, line, fontsize=10, fontweight="normal" if number else "bold")
        y += _TITLE
    corners: list[list[tuple[float, float]]] = []
    faces: list[str] = []
    for group, row, heading in zip(groups, widths, headings, strict=True):
        y += _HEADING - _TITLE if heading else _LINE
        for line in heading:
            _write(axes, _MARGIN, y + 0.13, line, fontsize=9, fontweight="bold")
            y += _TITLE
        for line_of, part, first in group.parts():
            y += _APART if first and not line_of.close else 0
            if first:
                _write(axes, _MARGIN, y + _BASE, line_of.label, color="#555555", **_MONOSPACED)
            _draw_line(axes, left, y, row[part], line_of.cells[part], corners, faces)
            y += _LINE
    axes.add_collection(PolyCollection(corners, facecolors=faces, linewidths=0, antialiaseds=False))
    height = y + 0.25 + _LEGEND + _MARGIN
    figure.set_size_inches(width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    _draw_keys(axes, y + 0.25, keys, canvas)
    return figure


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> Text:
    return axes.text(x, y, text, parse_math=False, **style)


def _draw_line(
    axes: Axes,
    left: float,
    y: float,
    widths: Sequence[int],
    cells: Sequence[Cell],
    corners: list[list[tuple[float, float]]],
    faces: list[str],
) -> None:
    """Write the texts of a line, one for each ink, and add the colours of its cells to those that are drawn at once."""
    inks: dict[str, list[str]] = {}
    x, total = 0, sum(widths)
    for cell, width in zip(cells, widths, strict=True):
        if cell.face is not None:
            corners.append(_box(left + x * _ADVANCE, y, width * _ADVANCE - _SLIT, _LINE - _SLIT))
            faces.append(cell.face)
        for place, sign in enumerate(cell.text, start=x):
            inks.setdefault(cell.ink, [" "] * total)[place] = sign if _in_font(sign) else "\N{REPLACEMENT CHARACTER}"
        x += width
    for ink, signs in inks.items():
        _write(axes, left, y + _BASE, "".join(signs).rstrip(), color=ink, **_MONOSPACED)


def _box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


@cache
def _in_font(sign: str) -> bool:
    return ord(sign) in _charmap()


@cache
def _charmap() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(_FONT)).get_charmap())


def _draw_keys(axes: Axes, y: float, keys: Sequence[Key], canvas: FigureCanvasAgg) -> None:
    renderer = canvas.get_renderer()
    x = _MARGIN
    for key in keys:
        scale = len(key.faces) > 1
        width = 1.4 if scale else 0.18
        step = width / len(key.faces)
        boxes = [_box(x + k * step, y, step, 0.15) for k in range(len(key.faces))]
        axes.add_collection(PolyCollection(boxes, facecolors=list(key.faces), linewidths=0, antialiaseds=False))
        for share in (0, 0.5, 1) if scale else ():
            _write(axes, x + share * width, y + 0.28, f"{share:g}", fontsize=7.5, ha="center")
        label = _write(axes, x + width + 0.08, y + 0.12, key.meaning, fontsize=8.5)
        x = label.get_window_extent(renderer).x1 / renderer.dpi + 0.3
