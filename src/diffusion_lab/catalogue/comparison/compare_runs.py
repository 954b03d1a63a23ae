"""What `scripts/compare.py` does: read the runs, say what can be said, write what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from diffusion_lab.catalogue.comparison import tables
from diffusion_lab.catalogue.comparison.comparison import Comparison, comparison
from diffusion_lab.catalogue.comparison.page import page
from diffusion_lab.catalogue.find import find_runs, output_dir
from diffusion_lab.config.schema import CompareConfig
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.run_record import RunRecord

WRITERS: dict[str, Callable[[Comparison], str]] = {
    ".csv": tables.comma_separated,
    ".md": tables.markdown,
    ".tex": tables.latex,
    ".html": page,
}


def compare(paths: Sequence[str], settings: CompareConfig) -> None:
    """Write the files of `settings.out`, and print the table and what can be said.

    Raises:
        LabError: naming what was typed and does not fit.
    """
    files = [file for text in settings.out for file in _files(text)]
    runs, left_out = _readable(find_runs(paths or [output_dir()]), settings.all)
    found = comparison(runs, left_out, settings.metric, settings.direction, settings.by, settings.sort)
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"cannot write {file} (out): {error.strerror}") from error
        write_text(file, WRITERS[file.suffix](found))
    print(tables.text(found), end="\n\n")
    for line in found.words:
        print(line)
    for file in files:
        print(f"Written: {shown(file.resolve())}")


def _readable(runs: Sequence[RunRecord], unfinished_too: bool) -> tuple[list[RunRecord], list[tuple[RunRecord, str]]]:
    """The runs that can be compared; the others, with the reason."""
    taken, left_out = [], []
    for run in runs:
        if run.state == "damaged":
            left_out.append((run, "damaged"))
        elif run.state != "finished" and not unfinished_too:
            left_out.append((run, f"{run.state} (all=true takes unfinished runs in)"))
        else:
            try:
                assert run.metrics is not None
            except LabError:
                left_out.append((run, "damaged"))
            else:
                taken.append(run)
    if not taken:
        reasons = ", ".join(sorted({reason for _, reason in left_out}))
        raise LabError(f"none of {len(runs)} runs can be compared: {reasons}")
    return taken, left_out


def _files(text: str) -> list[Path]:
    """The files that an entry of `out` stands for."""
    path = Path(text).expanduser()
    if path.suffix in WRITERS and not path.is_dir():
        return [path]
    if path.suffix and not path.is_dir():
        raise LabError(f"out={text}: a file ends in {', '.join(WRITERS)}; a folder has no ending")
    if path.exists() and not path.is_dir():
        raise LabError(f"out={text} is a file: name a folder, or a file that ends in {', '.join(WRITERS)}")
    return [path / f"comparison{suffix}" for suffix in WRITERS]
