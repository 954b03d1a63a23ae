"""The command behind `scripts/recipes.py`: record runs, and write tables and figures from all records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.catalogue.recipes.quality_tables import best, comparable, points
from diffusion_lab.catalogue.recipes.recipe_of_run import record_of, sample_row
from diffusion_lab.catalogue.recipes.recipe_record import RecipeRecord, read_records, written
from diffusion_lab.catalogue.recipes.recipe_tables import recipe_tables
from diffusion_lab.config.reader_schema import RecipesConfig
from diffusion_lab.config.tree import chosen_by, options, read_option
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.run_record import RunRecord

#: The lines of the page between which the tables stand.
MARKS = ("<!-- recipes -->", "<!-- end of recipes -->")


def record_recipes(paths: Sequence[str], settings: RecipesConfig) -> None:
    """Record the runs in `paths`; then write the tables and the figures from all records.

    Raises:
        LabError: naming a path or a run that cannot be recorded, or a page without `MARKS`; nothing is written then.
    """
    from PIL import Image

    folder, page = Path(settings.records).expanduser(), Path(settings.page).expanduser()
    before, after = _around_tables(page)
    runs = find_runs(list(paths)) if paths else []
    files = []
    made = [(record_of(run), sample_row(run)) for run in runs]
    _check_apart([record.name for record, _ in made], runs)
    records = read_records(folder) | {record.name: record for record, _ in made}
    records = dict(sorted(records.items()))
    tables = recipe_tables(records, data_of_recipes())
    for record, samples in made:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{record.name}.json", written(record))
        if samples is not None:
            Image.fromarray(samples.squeeze()).save(folder / f"{record.name}.png", optimize=True)
        files.append(folder / f"{record.name}.json")
    write_text(page, before + tables + after)
    files += [page, *_save_figures(records, folder, Path(settings.figure).expanduser())]
    for file in files:
        print(f"Written: {shown(file.resolve())}")


def data_of_recipes() -> dict[str, str]:
    """Return the class of the data of every recipe, such as MNIST, by the recipe's name."""
    data = {name: chosen_by(name, "data") for name in options("experiment")}
    return {name: str(read_option("data", option)["_target_"]).rpartition(".")[2] for name, option in data.items()}


def _check_apart(names: Sequence[str], runs: Sequence[RunRecord]) -> None:
    """Raise LabError if two runs are of one recipe, of which there is one record."""
    of_name: dict[str, RunRecord] = {}
    for name, run in zip(names, runs, strict=True):
        if name in of_name:
            raise LabError(f"{of_name[name].path} and {run.path} are runs of {name}: name the one to record")
        of_name[name] = run


def _around_tables(page: Path) -> tuple[str, str]:
    """Return the page up to its tables, and from their end on."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"cannot read {page} (page): {error.strerror}") from error
    start, end = (text.find(mark) for mark in MARKS)
    if not 0 <= start < end:
        raise LabError(f"{page} (page) needs two lines, {MARKS[0]} and {MARKS[1]}, between which the tables stand")
    return text[: start + len(MARKS[0])] + "\n", text[end:]


def _save_figures(records: Mapping[str, RecipeRecord], folder: Path, target: Path) -> list[Path]:
    """Save FID over evaluations, a picture for each table, and the samples of all recipes."""
    from diffusion_lab.figures.quality_figures import quality_over_evaluations
    from diffusion_lab.figures.recipe_figures import rows_figure
    from diffusion_lab.figures.save_figure import save_figure

    saved = []
    measured = comparable(records.values())
    ranked = [one for _, mine in sorted(measured.items()) for one in sorted(mine, key=lambda one: best(one)["fid"])]
    rows = {one.name: file for one in ranked if (file := folder / f"{one.name}.png").is_file()}
    if rows:
        saved.append(save_figure(rows_figure(rows), target.parent, f"{target.name}-samples"))
    of_data = Counter(data for data, _ in measured)
    for (data, extractor), mine in measured.items():
        lines, floor, count = points(mine)
        words = [target.name, data.lower(), *([] if of_data[data] == 1 else re.findall(r"\w+", extractor))]
        picture = quality_over_evaluations(lines, floor, "FID", count)
        saved.append(save_figure(picture, target.parent, "-".join(words)))
    return saved
