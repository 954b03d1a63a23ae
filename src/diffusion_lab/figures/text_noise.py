"""Table and figure that show why Gaussian noise fails on token ids, and masking does not.

A token id is a name, not a magnitude: id 3420 is no closer to "cat" (3421) in meaning than id 891 is, so id + σ·ε says
nothing about the word. (Distances between embeddings do have a meaning, and Gaussian noise works there: Li et al.
2022, Diffusion-LM.) The absorbing state of Austin et al. 2021 (D3PM) replaces a token by [MASK] instead, and every
intermediate state stays readable. Sahoo et al. 2024 (MDLM) mask each token with probability 1 − α(t); `mask_rows`
masks exactly the given share of the tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import BoxStyle, FancyBboxPatch, Patch

SIX_WORDS = {"the": 42, "cat": 3421, "sat": 891, "on": 156, "dog": 7856, "mat": 2001}
SENTENCE = ("the", "cat", "sat", "on", "the", "mat")
_WORD_OF = {token_id: word for word, token_id in SIX_WORDS.items()}
MASK = "[MASK]"
RATIOS = (0.0, 0.17, 0.33, 0.5, 0.67, 0.83, 1.0)

# Dependencies and not the standard library: their versions are locked, so that the vocabulary hardly changes.
_PACKAGES = ("matplotlib", "numpy", "scipy", "sklearn", "torch")
_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
# A word between other words, or at the end of a line of words, which leaves out most argument names and code.
_WORD = re.compile(r"(?<=[a-z,.;] )[a-z]{2,10}(?=[,.;]? [a-z(]|[.;,]?\n)")

_COLOURS = {
    "token": ("#d6e6f4", "#1f4e79"),
    "no word": ("#f6c9c5", "#9b1c13"),
    "other word": ("#fbe3b5", "#7a4b00"),
    "masked": ("#c9ccd1", "#4a4e55"),
}


@dataclass(frozen=True)
class GaussianRow:
    """The ids of the sentence with noise of one σ, rounded to integers and not clipped."""

    sigma: float
    ids: tuple[int, ...]


@dataclass(frozen=True)
class MaskRow:
    """The sentence with a share `ratio` of its tokens masked."""

    ratio: float
    tokens: tuple[str, ...]


@cache
def full_vocabulary(size: int = 10_000) -> tuple[str, ...]:
    """Return a vocabulary of real words: entry i is the word of id i, and the six words have their ids.

    The other entries are the words of 2 to 10 letters in the docstrings of installed packages, ordered by the number
    of files that use them and then alphabetically. If there are fewer than `size`, the vocabulary is smaller.

    Raises:
        ValueError: if there are too few words to reach the largest id of the six.
    """
    files: Counter[str] = Counter()
    for package in _PACKAGES:
        spec = find_spec(package)  # finds the folder without importing the package
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in Path(folder).rglob("*.py"):
                docstrings = _DOCSTRING.findall(path.read_text(encoding="utf-8", errors="ignore"))
                files.update({word for text in docstrings for word in _WORD.findall(text)})
    ranked = sorted(files.keys() - SIX_WORDS.keys(), key=lambda word: (-files[word], word))
    size = min(size, len(ranked) + len(SIX_WORDS))
    if size <= max(SIX_WORDS.values()):
        raise ValueError(f"the docstrings give {size} words, and id {max(SIX_WORDS.values())} needs more")
    rest = iter(ranked)
    return tuple(_WORD_OF[i] if i in _WORD_OF else next(rest) for i in range(size))


def word_at(token_id: int, words: Sequence[str]) -> str:
    """Return the word of an id, which is clipped to the ids of the vocabulary."""
    return words[min(max(token_id, 0), len(words) - 1)]


def nearest_word(token_id: int) -> str:
    """Return the one of the six words whose id is nearest."""
    return min(SIX_WORDS, key=lambda word: abs(SIX_WORDS[word] - token_id))


def gaussian_rows(ids: Sequence[int], sigmas: Sequence[float], seed: int) -> list[GaussianRow]:
    """Return round(id + σ·ε) for each σ, with the same ε in all rows, so that only σ differs between them.

    Raises:
        ValueError: if a σ is not in [0, 1e6].
    """
    if not all(0 <= sigma <= 1e6 for sigma in sigmas):  # larger ids would not fit their column
        raise ValueError(f"sigma must lie in [0, 1e6], got {max(sigmas):g}")
    eps = np.random.default_rng(seed).standard_normal(len(ids))
    noisy = [np.rint(np.asarray(ids) + sigma * eps) for sigma in sigmas]
    return [GaussianRow(s, tuple(int(x) for x in row)) for s, row in zip(sigmas, noisy, strict=True)]


def mask_rows(tokens: Sequence[str], ratios: Sequence[float], seed: int) -> list[MaskRow]:
    """Return for each ratio the L tokens with round(ratio·L) of them masked.

    The order of masking is the same for all ratios: a token that is masked at one ratio is masked at larger ones.

    Raises:
        ValueError: if a ratio is not in [0, 1].
    """
    if not all(0 <= ratio <= 1 for ratio in ratios):
        raise ValueError(f"a masking ratio lies in [0, 1], got {list(ratios)}")
    order = np.random.default_rng(seed).permutation(len(tokens))
    rows = []
    for ratio in ratios:
        masked = set(order[: round(ratio * len(tokens))].tolist())
        rows.append(MaskRow(ratio, tuple(MASK if i in masked else w for i, w in enumerate(tokens))))
    return rows


def _counts(row: GaussianRow, words: Sequence[str]) -> tuple[int, int, int]:
    """Count the ids that are one of the six, that are nearest to the right id, and whose word in `words` is right."""
    pairs = list(zip(row.ids, SENTENCE, strict=True))
    return (
        sum(token_id in _WORD_OF for token_id in row.ids),
        sum(nearest_word(token_id) == word for token_id, word in pairs),
        sum(word_at(token_id, words) == word for token_id, word in pairs),
    )


def table(gaussian: Sequence[GaussianRow], masked: Sequence[MaskRow], words: Sequence[str]) -> str:
    """Format both kinds of noise as aligned ASCII columns, at most 100 wide, with a summary of the last σ."""

    def line(name: str, what: str, cells: Sequence[object]) -> str:
        return f"{name:<16}{what:<16}" + "".join(f"{cell!s:>11}" for cell in cells)

    lines = [
        line("sentence", "", SENTENCE),
        line("token ids", "", [SIX_WORDS[word] for word in SENTENCE]),
        "",
        "GAUSSIAN NOISE ON THE IDS: round(id + sigma * eps), one draw of eps for all rows",
    ]
    for row in gaussian:
        lines += [
            "",
            line(f"sigma {row.sigma:.4g}", "id", row.ids),
            line("", "six words", [_WORD_OF.get(token_id, "no word") for token_id in row.ids]),
            line("", "nearest of six", [nearest_word(token_id) for token_id in row.ids]),
            line("", f"{len(words):,} words", [word_at(token_id, words) for token_id in row.ids]),
        ]
    n, sigma, (known, nearest, right) = len(SENTENCE), gaussian[-1].sigma, _counts(gaussian[-1], words)
    lines += [
        "",
        f"At sigma {sigma:.4g}, {known} of {n} ids name a word of the six. Rounding to the nearest of",
        f"the six is right for {nearest} of {n}, but only because six ids lie far apart: among",
        f"{len(words):,} words every id is a word (ids beyond are clipped), and {right} of {n} are right.",
        "",
        f"MASKING: round(ratio * {n}) tokens masked, in one random order",
        "",
    ]
    for state in masked:
        count = f"{state.tokens.count(MASK)} of {len(state.tokens)} masked"
        lines.append(line(f"ratio {state.ratio:.2f}", count, state.tokens))
    lines += ["", f"At every ratio, each token is itself or {MASK}: the rest can still be read."]
    return "\n".join(lines)


Cell = tuple[str, str, str]  # text, small text below it, key of _COLOURS


def _panel(ax: Axes, title: str, caption: str, rows: Sequence[Sequence[Cell]], labels: Sequence[str]) -> None:
    for y, row in enumerate(rows):
        for x, (text, below, kind) in enumerate(row):
            face, ink = _COLOURS[kind]
            box = BoxStyle.Round(pad=0, rounding_size=0.07)
            ax.add_patch(FancyBboxPatch((x + 0.03, y + 0.06), 0.94, 0.88, boxstyle=box, facecolor=face, lw=0))
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
            ax.text(x + 0.5, y + (0.38 if below else 0.5), text, fontsize=11, **style)
            ax.text(x + 0.5, y + 0.72, below, fontsize=8.5, **style)
    ax.set(xlim=(0, len(rows[0])), ylim=(len(rows), 0), xticks=[])
    ax.set_yticks([y + 0.5 for y in range(len(rows))], labels, fontsize=10.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, loc="left", fontsize=12.5, fontweight="bold", pad=24)
    ax.annotate(caption, (0, 1), (0, 8), "axes fraction", "offset points", fontsize=10, color="#555555")


def figure(gaussian: Sequence[GaussianRow], masked: Sequence[MaskRow], words: Sequence[str]) -> Figure:
    """Draw the rows as coloured cells: noisy ids in the six-word and in the full vocabulary, and masked tokens."""

    def among_six(token_id: int, word: str) -> Cell:
        if token_id not in _WORD_OF:
            return str(token_id), f"nearest: {nearest_word(token_id)}", "no word"
        return str(token_id), _WORD_OF[token_id], "token" if _WORD_OF[token_id] == word else "other word"

    def in_full(token_id: int, word: str) -> Cell:
        read = word_at(token_id, words)
        return read, "", "token" if read == word else "other word"

    fig = Figure(figsize=(16, 8), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12))
    FigureCanvasAgg(fig)
    axes = fig.subplot_mosaic([["six", "mask"], ["full", "mask"]])
    known, _, right = _counts(gaussian[-1], words)
    sigmas = [f"σ = {row.sigma:.4g}" for row in gaussian]
    _panel(
        axes["six"],
        "Gaussian noise on the ids, six-word vocabulary",
        f"round(id + σ·ε); at {sigmas[-1]}, {known} of {len(SENTENCE)} ids name a word",
        [[among_six(*pair) for pair in zip(row.ids, SENTENCE, strict=True)] for row in gaussian],
        sigmas,
    )
    _panel(
        axes["full"],
        f"The same ids in a vocabulary of {len(words):,} words",
        f"every id is a word (ids beyond are clipped); at {sigmas[-1]}, {right} of {len(SENTENCE)} are right",
        [[in_full(*pair) for pair in zip(row.ids, SENTENCE, strict=True)] for row in gaussian],
        sigmas,
    )
    _panel(
        axes["mask"],
        "Masking",
        f"each token is itself or {MASK}: every state stays readable",
        [[(word, "", "masked" if word == MASK else "token") for word in state.tokens] for state in masked],
        [f"ratio {state.ratio:.2f}" for state in masked],
    )
    names = {"token": "the sentence's word", "no word": "id of no word", "other word": "another word"}
    handles = [Patch(facecolor=face, label=names.get(kind, kind)) for kind, (face, _) in _COLOURS.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=10.5)
    fig.suptitle("Why noise on token ids fails, and masks do not", fontsize=16, fontweight="bold")
    return fig
