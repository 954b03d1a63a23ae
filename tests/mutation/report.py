"""What became of deliberate faults: `mutants.csv` lists all, `mutants.md` counts those caught and lists the others."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from areas import AREAS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "mutants.csv"
#: Why a fault may live, by its key.
REASONS = HERE / "survivors.toml"

_COLUMNS = (
    "area", "key", "file", "line", "function", "operator", "before", "after", "result", "test", "tests", "seconds",
)  # fmt: skip


def write_report(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows as CSV, and beside it a page with a table of the areas and the survivors."""
    order = list(AREAS)
    rows = sorted(rows, key=lambda row: (order.index(row["area"]), row["file"], int(row["line"]), row["key"]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    path.with_suffix(".md").write_text(page(rows, reasons()), encoding="utf-8")


def reasons() -> dict[str, str]:
    """Return why faults may live, by key."""
    return tomllib.loads(REASONS.read_text(encoding="utf-8")) if REASONS.is_file() else {}


def page(rows: Sequence[dict[str, Any]], why: dict[str, str]) -> str:
    """Return the page, in Markdown."""
    lines = [
        "# Deliberate faults",
        "",
        "Made by `make mutants`; `mutants.csv` lists them all, with the test that caught each.",
        "",
        "| area | faults | caught | |",
        "| --- | ---: | ---: | ---: |",
    ]
    for area in AREAS:
        mine = [row for row in rows if row["area"] == area]
        caught = sum(row["result"] == "caught" for row in mine)
        if mine:
            lines.append(f"| {area} | {len(mine)} | {caught} | {caught / len(mine):.0%} |")
    lines += ["", "## Survivors", "", "| place | fault | why it may live |", "| --- | --- | --- |"]
    for row in rows:
        if row["result"] == "survived":
            place = f"`{row['file'].removeprefix('src/diffusion_lab/')}:{row['line']}`"
            fault = f"{row['operator']}: `{_cell(row['before'])}` → `{_cell(row['after'])}`"
            lines.append(f"| {place} | {fault} | {why.get(row['key'], '')} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return (text if len(text) <= 80 else f"{text[:77]}…").replace("|", r"\|")
