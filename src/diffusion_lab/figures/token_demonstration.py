"""Figure that shows by a sentence of a run's own data why Gaussian noise fails on token ids, and masking does not.

As `text_noise` does for a vocabulary of its own: ids with noise are those of other tokens, since an id is a name, while
a masked sentence can still be read, and a network that was trained fills it in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from diffusion_lab.figures.cell_lines import MOST_CELLS, Cell, Group, Key, Line, cut, draw_cells, in_cell, write_cells
from diffusion_lab.figures.text_noise import RATIOS, gaussian_rows
from diffusion_lab.figures.token_strip import MASK_SIGN, MASKED

#: Of the largest noise, by which the vocabulary of 10,000 words in `text_noise` is shown at σ = 500.
_FRACTIONS, _SHARE = (0.1, 0.4, 1.0), 500 / 10_000
_KEPT, _RIGHT, _WRONG = "#eceff3", "#8ec5e8", "#f5b26b"

#: The beginning of a sentence, and a whole one.
_BEGINNING = re.compile(r"(?:(?<=[.!?:]\s)|(?<=\n)|^)[A-Z](?=[a-z ])")
_SENTENCE = re.compile(_BEGINNING.pattern + r"(?:[^.!?\n]|\n(?=\w))*[.!?]")


def sentence_of(sequences: Sequence[Sequence[str]], vocab_size: int) -> tuple[int, slice]:
    """Return the number of a sequence, and the place in it of the longest sentence that can be shown.

    If there is none, of the beginning of a sentence, or of the first sequence.

    Args:
        sequences: the texts of the tokens of each.
        vocab_size: V; the longer its ids, the fewer tokens are shown.
    """
    most = 2 * MOST_CELLS // (len(str(vocab_size)) + 2)  # the ids of a sentence fill two lines
    found = [(0, slice(0, most))]
    for pattern in (_SENTENCE, _BEGINNING):
        for row, pieces in enumerate(sequences):
            starts = np.cumsum([0, *map(len, pieces)])
            for match in pattern.finditer("".join(pieces)):
                # All tokens of which a part lies in it.
                first = int(np.searchsorted(starts, match.start(), "right")) - 1
                last = int(np.searchsorted(starts, match.end()))
                last = last if pattern is _SENTENCE else min(first + most, len(pieces))
                if most // 3 < last - first <= most:
                    found.append((row, slice(first, last)))
        if len(found) > 1:
            break
    return max(found[1:] or found, key=lambda place: place[1].stop - place[1].start)


def masks_of_sentence(length: int, place: slice, seed: int = 0) -> np.ndarray:
    """Return for each of `RATIOS` which positions of a sequence are destroyed: [R, length] bool.

    The share is that ratio of the positions in `place`, and of the others. What is destroyed at a ratio is destroyed at
    all larger ones.
    """
    rng = np.random.default_rng(seed)
    inside = np.zeros(length, dtype=bool)
    inside[place] = True
    destroyed = np.zeros((len(RATIOS), length), dtype=bool)
    for positions in (np.flatnonzero(inside), np.flatnonzero(~inside)):
        order = rng.permutation(positions)
        for row, ratio in zip(destroyed, RATIOS, strict=True):
            row[order[: round(ratio * len(order))]] = True
    return destroyed


def demonstration(
    ids: Sequence[int],
    words: Sequence[str],
    destroyed: np.ndarray,
    states: Sequence[Sequence[str | None]],
    guesses: Sequence[Sequence[str | None]],
    caption: str,
) -> list[str | Figure]:
    """Return the figure, as text and as a picture.

    Args:
        ids: [n] of the tokens of a sentence.
        words: the text of each token of the vocabulary.
        destroyed: [R, n] bool, for each of `RATIOS`.
        states: R times n texts of tokens, None for a mask.
        guesses: what the network says that these were.
        caption: which run it is.
    """
    sentence = [words[i] for i in ids]
    title = f"Why noise on token ids fails, and masks do not\n{caption}"
    groups = [*_blocks(_noise(ids, words)), *_blocks(_masks(sentence, destroyed, states, guesses))]
    keys = [
        Key([_RIGHT], "the sentence's token"), Key([_WRONG], "another token"), Key([_KEPT], "as it was"),
        Key([MASKED], "masked" if any(text is None for row in states for text in row) else "destroyed"),
    ]  # fmt: skip
    text = f"{title}\nBelow a token, + says that it is the sentence's, and x that it is another. {MASK_SIGN} is a mask."
    return [write_cells(text, groups), draw_cells(title, groups, keys)]


def _noise(ids: Sequence[int], words: Sequence[str]) -> Group:
    largest = _SHARE * len(words)
    lines = [
        Line("sentence", [Cell(f"{in_cell(words[i])} ", _KEPT) for i in ids]),
        Line("ids", [Cell(f"{i} ") for i in ids], close=True),
    ]
    right = 0
    for row in gaussian_rows(ids, [fraction * largest for fraction in _FRACTIONS], seed=0):
        read = [min(max(i, 0), len(words) - 1) for i in row.ids]
        right = sum(found == i for found, i in zip(read, ids, strict=True))
        lines.append(Line(f"σ = {row.sigma:.3g}", [Cell(f"{i} ") for i in row.ids]))
        lines.append(
            Line("reads", [_judged(words[a], a == b, " ") for a, b in zip(read, ids, strict=True)], close=True)
        )
    heading = (
        f"Gaussian noise on the ids: round(id + σ·ε), with ids beyond the {len(words):,} of the vocabulary clipped. "
        f"At σ = {largest:.3g}, {right} of {len(ids)} tokens are right."
    )
    return Group(heading, lines)


def _masks(
    sentence: Sequence[str],
    destroyed: np.ndarray,
    states: Sequence[Sequence[str | None]],
    guesses: Sequence[Sequence[str | None]],
) -> Group:
    lines = []
    for ratio, gone, state, guess in zip(RATIOS, destroyed, states, guesses, strict=True):
        right = [a == b for a, b in zip(guess, sentence, strict=True)]
        lines.append(Line(f"ratio {ratio:.2f}", [_state(*cell) for cell in zip(state, gone, strict=True)]))
        if gone.any():
            filled = [
                _judged(text or "", fits) if lost or not fits else Cell(in_cell(text or ""), _KEPT)
                for text, fits, lost in zip(guess, right, gone, strict=True)
            ]
            lines.append(
                Line(f"{sum(right[i] for i in np.flatnonzero(gone))} of {gone.sum()} right", filled, close=True)
            )
    return Group(
        "A share of the tokens destroyed, and below it the likeliest token of each position, by one prediction.",
        lines,
    )


def _state(text: str | None, gone: bool) -> Cell:
    if text is None:
        return Cell("", MASKED, in_text=MASK_SIGN)
    return Cell(in_cell(text), MASKED if gone else _KEPT)


def _judged(text: str, right: bool, after: str = "") -> Cell:
    return Cell(in_cell(text) + after, _RIGHT if right else _WRONG, mark="+" if right else "x")


def _blocks(group: Group) -> list[Group]:
    """Return a group in parts that are no wider than a line, one below the other."""
    return [
        Group("" if number else group.heading, [Line(line.label, line.cells[part], line.close) for line in group.lines])
        for number, part in enumerate(cut(group.widths()))
    ]
