"""Recipes by the quality of their samples: a table for each data set and feature network, which cannot be compared."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffusion_lab.catalogue.number_format import format_mean
from diffusion_lab.catalogue.recipes.recipe_record import MEASURES, RecipeRecord
from diffusion_lab.catalogue.recipes.recipe_rows import markdown_table, not_run, of_most, places
from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    from diffusion_lab.figures.quality_figures import QualityPoint

Result = Mapping[str, Any]

_BEST = "best FID (evaluations)"
_HEADINGS = (
    "recipe",
    "sampler",
    _BEST,
    "FID, ≤ 20",
    "FID, ≤ 10",
    "KID · 10³",
    "precision",
    "recall",
    "coverage",
    "read as class",
    "CAS",
    "bits/dim: bound",
    "bits/dim: ODE",
    "parameters",
    "minutes of training",
)

#: The columns of text; numbers are set to the right.
_TEXTS = ("recipe", "sampler")


def quality_tables(records: Iterable[RecipeRecord], lacking: dict[str, list[str]]) -> list[str]:
    """Return for each data set and feature network a table, and the sentence below it.

    Args:
        records: of recipes of any kind.
        lacking: recipes that have no record, by their data; those that get a row are taken out.

    Raises:
        LabError: if records of one table have different numbers of samples.
    """
    parts = []
    for (data, _), mine in comparable(records).items():
        _one_count({result["num_samples"] for record in mine for result in record.results("quality")})
        rows = [_row(record) for record in sorted(mine, key=lambda record: best(record)["fid"])]
        rows += [_real_row(mine), *not_run(lacking, data, _BEST)]
        parts += [markdown_table(_HEADINGS, _TEXTS, rows), _below(mine)]
    return parts


def comparable(records: Iterable[RecipeRecord]) -> dict[tuple[str, str], list[RecipeRecord]]:
    """Return the records by data and feature network, each with the results of that network alone."""
    found: dict[tuple[str, str], list[RecipeRecord]] = {}
    for record in records:
        for extractor in record.extractors:
            found.setdefault((record.data, extractor), []).append(record.measured_by(extractor))
    return found


def best(record: RecipeRecord, evaluations: float = math.inf) -> Result:
    """Return the result with the lowest FID among those of at most so many network evaluations; empty for none."""
    found = [result for result in record.results("quality") if result["evaluations"] <= evaluations]
    return min(found, key=lambda result: result["fid"], default={})


def points(records: Iterable[RecipeRecord]) -> tuple[dict[str, list[QualityPoint]], float, int]:
    """Return the FID of each recipe and sampler over network evaluations, their floor, and the number of samples."""
    from diffusion_lab.figures.quality_figures import QualityPoint

    lines: dict[str, list[QualityPoint]] = {}
    floors, counts = [], set()
    for record in sorted(records, key=lambda record: best(record)["fid"]):
        of_samplers = {result["sampler"] for result in record.results("quality")}
        for result in sorted(record.results("quality"), key=lambda one: one["evaluations"]):
            floors.append(result["fid_floor"])
            counts.add(result["num_samples"])
            # Between points of two samplers there is nothing that a line could stand for.
            # A long name would leave the lines no room beside it.
            name = (
                record.name
                if len(of_samplers) == 1
                else f"{record.name}, {result['sampler']}".replace(" guidance.", "\n  guidance.")
            )
            point = QualityPoint(result["evaluations"], result["fid"], result.get("fid_spread"))
            lines.setdefault(name, []).append(point)
    return lines, statistics.fmean(floors), _one_count(counts)


def _one_count(counts: set[int]) -> int:
    """Return the number of samples, on which FID depends, so that all records must have the same."""
    if len(counts) != 1:
        shown = ", ".join(map(str, sorted(counts)))
        raise LabError(
            f"FID depends on the number of samples, and the recorded evaluations have different ones: {shown}"
        )
    return counts.pop()


def _row(record: RecipeRecord) -> dict[str, str]:
    """Return the cells of a recipe by their headings, empty where it has none."""
    top = best(record)
    cas = of_most(record, "cas", "num_samples", lambda result: -result["accuracy"])
    return _measures(top) | {
        "recipe": f"`{record.name}`",
        "sampler": f"`{top['sampler']}`" if top["sampler"] else "",
        _BEST: f"{_measured(top, 'fid')} ({top['evaluations']:,g})",
        "FID, ≤ 20": _measured(best(record, 20), "fid"),
        "FID, ≤ 10": _measured(best(record, 10), "fid"),
        "read as class": f"{top['label_accuracy']:.1%}" if "label_accuracy" in top else "",
        "CAS": f"{cas['accuracy']:.1%}" if cas else "",
        "bits/dim: bound": _bits(record, "bound"),
        "bits/dim: ODE": _bits(record, "ode"),
        "parameters": f"{record.content['parameters']:,}",
        "minutes of training": f"{record.content['minutes']:.0f}",
    }


def _real_row(records: Sequence[RecipeRecord]) -> dict[str, str]:
    """Return the cells of as many real images: the mean over the best evaluations of the records."""
    tops = [best(record) for record in records]
    mean = {
        f"{name}{end}": statistics.fmean(top[key] for top in tops)
        for name in MEASURES
        for end in ("", "_spread")
        if all((key := f"{name}_floor{end}") in top for top in tops)
    }
    return _measures(mean) | {"recipe": f"*{tops[0]['num_samples']:,} real images*"}


def _measures(result: Result) -> dict[str, str]:
    """Return the cells of the measures of a result."""
    return {
        _BEST: _measured(result, "fid"),
        "KID · 10³": _measured(result, "kid", 1000),
        **{name: _measured(result, name) for name in ("precision", "recall", "coverage")},
    }


def _measured(result: Result, name: str, scale: float = 1.0) -> str:
    if name not in result:
        return ""
    return format_mean(scale * result[name], scale * result.get(f"{name}_spread", 0.0))


def _bits(record: RecipeRecord, name: str) -> str:
    found = of_most(record, name, "num_items", lambda result: result["bits_per_dim_error"])
    return format_mean(found["bits_per_dim"], found["bits_per_dim_error"]) if found else ""


def _below(records: Sequence[RecipeRecord]) -> str:
    """Return the sentence on how the numbers of a table came about."""
    tops = [best(record) for record in records]
    counts = {(top["num_samples"], top["num_seeds"], top["num_real"]) for top in tops}
    samples = "; ".join(
        f"{n:,} samples for each of {seeds} sampling seeds, beside {real:,} test images"
        for n, seeds, real in sorted(counts)
    )
    likelihoods = any(True for record in records for name in ("bound", "ode") for _ in record.results(name))
    error = ", for bits/dim the standard error over images" if likelihoods else ""
    return (
        f"*{samples}; ± is the standard deviation over these seeds{error}, and says nothing of another training. "
        "Best: the lowest of the evaluations beside test images, to which KID to `read as class` belong. "
        "Minutes are those of the whole command, on a shared machine. "
        f"Features: `{records[0].extractors[0]}`, so these are no FIDs to compare with those of papers. "
        f"Trained on {places(records)}.*"
    )
