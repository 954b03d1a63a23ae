"""How sequences of tokens came about: a line for each snapshot, each token shaded by how probable it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib import colormaps, colors
from matplotlib.figure import Figure

from diffusion_lab.figures.cell_lines import QUIET, Cell, Group, Key, Line, draw_cells, in_cell, write_cells

#: The colour of a masked token, and its sign in texts.
MASKED, MASK_SIGN = "#c9ccd1", "▒"

#: About how many lines a picture may have; it shows fewer sequences where these are long.
_MOST_LINES = 72
_BARS = "▁▂▃▄▅▆▇█"
_BLACK, _WHITE = "#000000", "#ffffff"


@dataclass(frozen=True)
class Token:
    """A token as it stands in a snapshot.

    Attributes:
        text: None where it is masked.
        confidence: the probability that it was given when it was last predicted; NaN where it was not.
    """

    text: str | None
    confidence: float = math.nan

    @property
    def shaded(self) -> bool:
        """Whether it was predicted."""
        return self.text is not None and not math.isnan(self.confidence)


@dataclass(frozen=True)
class TokenStrip:
    """Snapshots of sequences.

    Attributes:
        title: one line or more.
        labels: of each snapshot.
        samples: for each sequence its snapshots, each of which is as many tokens.
    """

    title: str
    labels: Sequence[str]
    samples: Sequence[Sequence[Sequence[Token]]]

    @property
    def masked(self) -> bool:
        """Whether any token is masked."""
        return any(token.text is None for snapshots in self.samples for row in snapshots for token in row)

    def heading(self, number: int) -> str:
        """Return what stands above a sequence; nothing where there is only one."""
        return f"sample {number}" if len(self.samples) > 1 else ""


def shade(confidence: float) -> tuple[str, str]:
    """Return the colour of a probability, of a scale that colour-blind people can read, and an ink to write on it."""
    return _shades()[round(100 * min(max(confidence, 0.0), 1.0))]


@cache
def _shades() -> list[tuple[str, str]]:
    found = []
    for percent in range(101):
        r, g, b, _ = colormaps["YlGnBu"](percent / 100)
        found.append((colors.to_hex((r, g, b)), _BLACK if 0.299 * r + 0.587 * g + 0.114 * b > 0.45 else _WHITE))
    return found


def quiet(ink: str) -> str:
    """Return an ink, half transparent, for what stands for white space."""
    return f"{ink}80"


def strip_figure(strip: TokenStrip) -> Figure:
    """Draw a strip; of long sequences only the first ones."""
    groups = _groups(strip)
    lines = len(list(groups[0].parts()))
    keys = [Key([face for face, _ in _shades()], "probability when last predicted")]
    keys += [Key([MASKED], "masked")] if strip.masked else []
    return draw_cells(strip.title, groups[: max(1, _MOST_LINES // lines)], keys)


def strip_text(strip: TokenStrip) -> str:
    """Write a strip: below each line of tokens a line of bars, the higher the more probable each token was."""
    legend = (
        f"Bars: the probability of the token above when it was last predicted, from {_BARS[0]} for 0 to {_BARS[-1]} "
        f"for 1. {MASK_SIGN} is a mask."
    )
    return write_cells(f"{strip.title}\n{legend}", _groups(strip))


def _groups(strip: TokenStrip) -> list[Group]:
    return [
        Group(
            strip.heading(number),
            [Line(label, list(map(_cell, tokens))) for label, tokens in zip(strip.labels, snapshots, strict=True)],
        )
        for number, snapshots in enumerate(strip.samples)
    ]


def _cell(token: Token) -> Cell:
    if token.text is None:
        return Cell("", MASKED, in_text=MASK_SIGN)
    text = in_cell(token.text)
    if not token.shaded:
        return Cell(text)
    face, ink = shade(token.confidence)
    bar = _BARS[min(int(token.confidence * len(_BARS)), len(_BARS) - 1)]
    return Cell(text, face, quiet(ink) if set(text) <= QUIET else ink, mark=bar)
