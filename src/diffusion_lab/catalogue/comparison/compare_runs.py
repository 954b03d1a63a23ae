"""The command behind `scripts/compare.py`: read runs, print how they compare, and write the files in `out`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from diffusion_lab.catalogue.comparison import tables
from diffusion_lab.catalogue.comparison.comparison import Comparison, build_comparison
from diffusion_lab.catalogue.comparison.page import render_page
from diffusion_lab.catalogue.comparison.quality_curves import quality_picture
from diffusion_lab.catalogue.find import find_runs, output_dir
from diffusion_lab.config.reader_schema import CompareConfig
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_together
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.evaluation_record import evaluated, rulers
from diffusion_lab.run_folder.layout import NewerLayoutError
from diffusion_lab.run_folder.run_record import RunRecord

WRITERS: dict[str, Callable[[Comparison], str | bytes]] = {
    ".csv": tables.csv_table,
    ".md": tables.markdown_table,
    ".tex": tables.latex_table,
    ".html": render_page,
    ".png": quality_picture,
}


def compare_runs(paths: Sequence[str], settings: CompareConfig) -> None:
    """Write the files in `settings.out`, and print the table and the findings.

    Raises:
        LabError: naming a path or a setting that does not fit.
    """
    files = [file for text in settings.out for file in _output_files(text)]
    runs, left_out = _comparable_runs(find_runs(paths or [output_dir()]), settings.all)
    runs, others = _with_one_ruler(_with_evaluations(runs, settings.metric[0]), settings.metric)
    left_out += others
    comparison = build_comparison(runs, left_out, settings.metric, settings.direction, settings.by, settings.sort)
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"cannot write {file} (out): {error.strerror}") from error
    contents = {file: WRITERS[file.suffix](comparison) for file in files}
    write_together({file: text.encode() if isinstance(text, str) else text for file, text in contents.items()})
    print(tables.text_table(comparison), end="\n\n")
    for line in comparison.findings:
        print(line)
    for file in files:
        print(f"Written: {shown(file.resolve())}")


def _comparable_runs(
    runs: Sequence[RunRecord], include_unfinished: bool
) -> tuple[list[RunRecord], list[tuple[RunRecord, str]]]:
    """The runs that can be compared, and the others with the reason."""
    comparable, left_out = [], []
    for run in runs:
        if run.state == "damaged":
            left_out.append((run, "damaged"))
        elif run.state != "finished" and not include_unfinished:
            left_out.append((run, f"{run.state} (all=true includes unfinished runs)"))
        else:
            try:
                assert run.metrics is not None
                assert run.config is not None
            except NewerLayoutError:
                left_out.append((run, "written by a newer version of this project"))
            except LabError:
                left_out.append((run, "damaged"))
            else:
                comparable.append(run)
    if not comparable:
        reasons = ", ".join(sorted({reason for _, reason in left_out}))
        raise LabError(f"none of {len(runs)} runs can be compared: {reasons}")
    return comparable, left_out


def _with_evaluations(runs: Sequence[RunRecord], metric: str) -> list[RunRecord]:
    """Return the runs; each of a run's evaluations that has the metric is a row of its own."""
    rows: list[RunRecord] = []
    for run in runs:
        seen = [evaluation for evaluation in evaluated(run) if metric in evaluation.found]
        rows += [run, *seen] if metric in run.metrics or not seen else seen
    return rows


def _with_one_ruler(
    rows: Sequence[RunRecord], metrics: Sequence[str]
) -> tuple[list[RunRecord], list[tuple[RunRecord, str]]]:
    """Return the rows whose metrics were taken with the same model as those of the newest row, and the others.

    Numbers of different feature networks, or of different language models, cannot be compared.
    """
    kept = list(rows)
    others: list[tuple[RunRecord, str]] = []
    for key in dict.fromkeys(key for metric in metrics for key in rulers(metric)):
        measured = [row for row in kept if key in row.facts]
        if measured:
            last = measured[-1].facts[key]
            different = [row for row in measured if row.facts[key] != last]
            others += [(row, f"since it was measured by {row.facts[key]} and not by {last}") for row in different]
            kept = [row for row in kept if row not in different]
    return kept, others


def _output_files(text: str) -> list[Path]:
    """The files that an entry of `out` stands for."""
    path = Path(text).expanduser()
    if path.suffix in WRITERS and not path.is_dir():
        return [path]
    if path.suffix and not path.is_dir():
        raise LabError(f"out={text}: a file name must end in {', '.join(WRITERS)}; a folder name must have no ending")
    if path.exists() and not path.is_dir():
        raise LabError(f"out={text} is a file: give a folder, or a file name that ends in {', '.join(WRITERS)}")
    # Not every comparison has a picture.
    return [path / f"comparison{suffix}" for suffix in WRITERS if suffix != ".png"]
