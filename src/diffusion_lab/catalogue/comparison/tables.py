"""A comparison as a table: for the terminal, as CSV, Markdown and LaTeX."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Sequence

from diffusion_lab.catalogue.comparison.comparison import Comparison
from diffusion_lab.catalogue.comparison.groups import Group
from diffusion_lab.catalogue.metric_names import decimals_of, mean_and_spread, number

INTERVAL = "95 % interval"


def text(comparison: Comparison) -> str:
    """Aligned columns."""
    heads, rows = _cells(comparison)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    sides = "<" * len(comparison.grouping.telling) + ">" * len(heads)
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=False))
        for row in (heads, *rows)
    )


def markdown(comparison: Comparison) -> str:
    """A table of GitHub's Markdown, the best row in bold, and what can be said of it."""
    heads, rows = _cells(comparison)
    left = len(comparison.grouping.telling)
    lines = [_pipes(map(_markdown, heads)), _pipes(["---"] * left + ["---:"] * (len(heads) - left))]
    for group, row in zip(comparison.rows, rows, strict=True):
        cells = [_markdown(cell) for cell in row]
        lines.append(_pipes([f"**{cell}**" for cell in cells] if group is comparison.best else cells))
    return "\n".join([*lines, "", *(_markdown(line) for line in comparison.words), ""])


def latex(comparison: Comparison) -> str:
    """A table for the package booktabs, the best row in bold; what can be said of it is a comment."""
    heads, rows = _cells(comparison)
    left = len(comparison.grouping.telling)
    body = []
    for group, row in zip(comparison.rows, rows, strict=True):
        cells = [_latex(cell) for cell in row]
        body.append([rf"\textbf{{{cell}}}" for cell in cells] if group is comparison.best else cells)
    lines = [" & ".join(cells) + r" \\" for cells in ([_latex(head) for head in heads], *body)]
    return "\n".join(
        [
            *(f"% {line}" for line in comparison.words),
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(heads) - left)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def comma_separated(comparison: Comparison) -> str:
    """A row for each group, with every metric in full precision: mean, standard deviation, ends of the interval, n."""
    parts = ("mean", "std", "low", "high", "n")
    metrics = comparison.all_metrics
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = [f"{metric}.{part}" for metric in metrics for part in parts]
    writer.writerow([*map(_cell, comparison.grouping.columns), "runs", *map(_cell, heads)])
    for group in comparison.rows:
        row: list[object] = [_cell(value) for value in group.values.values()] + [len(group.runs)]
        for metric in metrics:
            found = group.summary(metric)
            values = [getattr(found, part) for part in parts] if found else [""] * 4 + [0]
            row += ["" if value != value else value for value in values]  # NaN: no spread
        writer.writerow(row)
    return file.getvalue()


def interval(group: Group, metric: str) -> str:
    """``0.0374 … 0.0381`` with as many decimals as the mean has; empty where there is none."""
    found = group.summary(metric)
    if found is None or found.n < 2:
        return ""
    decimals = decimals_of(found.std)
    return f"{number(found.low, decimals)} … {number(found.high, decimals)}"


def mean(group: Group, metric: str) -> str:
    """``0.0378 ± 0.0004``; a dash where no run has the metric."""
    found = group.summary(metric)
    return mean_and_spread(found.mean, found.std) if found else "–"


def _cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    metrics = comparison.metrics
    heads = [*comparison.grouping.telling, metrics[0], INTERVAL, *metrics[1:], "runs"]
    rows = [
        [
            *(group.values[column] for column in comparison.grouping.telling),
            mean(group, metrics[0]),
            interval(group, metrics[0]),
            *(mean(group, metric) for metric in metrics[1:]),
            str(len(group.runs)),
        ]
        for group in comparison.rows
    ]
    return heads, rows


def _pipes(cells: Sequence[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(cell: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", cell)


_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "…": r"\,--\,", "–": "--", "−": "$-$",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def _latex(cell: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in cell.replace(" … ", "…"))


def _cell(value: str) -> str:
    """No formula to a spreadsheet; a negative number is none."""
    if value[:1] == "-":
        with contextlib.suppress(ValueError):
            float(value)
            return value
    return f"'{value}" if value[:1] in ("=", "@", "+", "-") else value
