"""Write a comparison as a table: plain text, CSV, Markdown or LaTeX."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterable

from diffusion_lab.catalogue.comparison.comparison import Comparison
from diffusion_lab.catalogue.comparison.groups import Group
from diffusion_lab.catalogue.number_format import decimals_for_spread, format_mean, format_number

INTERVAL_HEADING = "95 % interval"


def text_table(comparison: Comparison) -> str:
    """Return a table with aligned columns, for the terminal."""
    headings, rows = _cells(comparison)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    alignments = "<" * len(comparison.grouping.shown_columns) + ">" * len(headings)
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, alignments, widths, strict=False))
        for row in (headings, *rows)
    )


def markdown_table(comparison: Comparison) -> str:
    """Return a table in GitHub's Markdown with the best row in bold, followed by the findings."""
    headings, rows = _cells(comparison)
    left = len(comparison.grouping.shown_columns)
    lines = [
        _markdown_row(map(_escape_markdown, headings)),
        _markdown_row(["---"] * left + ["---:"] * (len(headings) - left)),
    ]
    for group, row in zip(comparison.rows, rows, strict=True):
        cells = [_escape_markdown(cell) for cell in row]
        if group is comparison.best:
            cells = [f"**{cell}**" if cell else "" for cell in cells]
        lines.append(_markdown_row(cells))
    return "\n".join([*lines, "", *map(_escape_markdown, comparison.findings), ""])


def latex_table(comparison: Comparison) -> str:
    """Return a table for the LaTeX package booktabs with the best row in bold, after the findings as comments."""
    headings, rows = _cells(comparison)
    left = len(comparison.grouping.shown_columns)
    body = []
    for group, row in zip(comparison.rows, rows, strict=True):
        cells = [_escape_latex(cell) for cell in row]
        body.append([rf"\textbf{{{cell}}}" for cell in cells] if group is comparison.best else cells)
    lines = [" & ".join(cells) + r" \\" for cells in ([_escape_latex(heading) for heading in headings], *body)]
    return "\n".join(
        [
            *(f"% {line}" for line in comparison.findings),
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(headings) - left)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def csv_table(comparison: Comparison) -> str:
    """Return CSV with all metrics in full precision: mean, standard deviation, ends of the interval, number of runs."""
    parts = ("mean", "std", "low", "high", "n")
    metrics = comparison.all_metrics
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    headings = [f"{metric}.{part}" for metric in metrics for part in parts]
    writer.writerow([*map(_csv_cell, comparison.grouping.columns), "runs", *map(_csv_cell, headings)])
    for group in comparison.rows:
        row: list[object] = [_csv_cell(value) for value in group.column_values.values()] + [len(group.runs)]
        for metric in metrics:
            summary = group.summary(metric)
            values = [getattr(summary, part) for part in parts] if summary else [""] * 4 + [0]
            row += ["" if value != value else value for value in values]  # NaN: one run has no spread
        writer.writerow(row)
    return file.getvalue()


def interval_text(group: Group, metric: str) -> str:
    """Return ``0.0374 … 0.0381``, with as many decimals as the mean; empty for fewer than two runs."""
    summary = group.summary(metric)
    if summary is None or summary.n < 2:
        return ""
    decimals = decimals_for_spread(summary.std)
    return f"{format_number(summary.low, decimals)} … {format_number(summary.high, decimals)}"


def _mean_text(group: Group, metric: str) -> str:
    summary = group.summary(metric)
    return format_mean(summary.mean, summary.std) if summary else "–"


def _cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows, as text that is not escaped yet."""
    metrics, columns = comparison.metrics, comparison.grouping.shown_columns
    headings = [*columns, metrics[0], INTERVAL_HEADING, *metrics[1:], "runs"]
    rows = [
        [
            *(group.column_values[column] for column in columns),
            _mean_text(group, metrics[0]),
            interval_text(group, metrics[0]),
            *(_mean_text(group, metric) for metric in metrics[1:]),
            str(len(group.runs)),
        ]
        for group in comparison.rows
    ]
    return headings, rows


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", text)


_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "…": r"\,--\,", "–": "--", "−": "$-$",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def _escape_latex(text: str) -> str:
    return "".join(_LATEX_ESCAPES.get(letter, letter) for letter in text.replace(" … ", "…"))


def _csv_cell(text: str) -> str:
    """A cell that no spreadsheet evaluates: text that looks like a formula gets an apostrophe; numbers do not."""
    if text[:1] == "-":
        with contextlib.suppress(ValueError):
            float(text)
            return text
    return f"'{text}" if text[:1] in ("=", "@", "+", "-") else text
