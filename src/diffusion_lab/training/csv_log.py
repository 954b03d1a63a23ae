"""A CSV logger that appends to the existing file when a run is resumed."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.bounded_read import check_csv, open_bounded, read_bounded

#: The most digits of a step.
_MOST_DIGITS = 20


class _AppendingWriter(ExperimentWriter):
    """A writer that keeps the rows that are in the file already.

    Lightning's own empties the folder if it exists, and overwrites the file when there are new columns. With this
    one, rows are on the disk when `save` returns, and no failure loses rows that were saved before.
    """

    def _check_log_dir_exists(self) -> None:
        self.metrics_keys = _read(Path(self.metrics_file_path))[0]

    def save(self) -> None:
        if not self.metrics:
            return
        path = Path(self.metrics_file_path)
        try:
            if self._record_new_keys():
                _write(path, self.metrics_keys, [*_read(path)[1], *self.metrics])
            else:
                text = io.StringIO()
                csv.DictWriter(text, self.metrics_keys).writerows(self.metrics)
                with open_bounded(path, "ab") as file:
                    file.write(text.getvalue().encode())
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise LabError(f"cannot write {path}: {error.strerror}") from error
        self.metrics = []


class AppendingCSVLogger(CSVLogger):
    """Writes `csv/metrics.csv` in the run folder: one row per logged step.

    Args:
        save_dir: the run folder; filled in by the run.
        flush_logs_every_n_steps: number of steps between two writes; rows are also written before each checkpoint.
    """

    def __init__(self, save_dir: str, flush_logs_every_n_steps: int = 100) -> None:
        super().__init__(save_dir, name="", version="csv", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    def experiment(self):
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _AppendingWriter(log_dir=self.log_dir)
        return super().experiment

    def remove_rows_from(self, step: int) -> None:
        """Remove the rows of the optimizer step `step` (counted from 0) and of later ones, which will be repeated."""
        path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        keys, rows = _read(path)
        if keys:
            _write(path, keys, [row for row in rows if (at := _step(row)) is not None and at < step])


def _read(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the header and the rows, both empty if there is no file. An incomplete last row is left out."""
    try:
        text = read_bounded(path).decode(errors="replace")
        check_csv(text)
        reader = csv.DictReader(line for line in io.StringIO(text, newline="") if line.endswith("\n"))
        rows = [{key: value for key, value in row.items() if key is not None} for row in reader]
        return list(reader.fieldnames or []), rows
    except FileNotFoundError:
        return [], []
    except (ValueError, csv.Error) as error:
        raise LabError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def _step(row: Mapping[str, Any]) -> int | None:
    """Return the step of a row; None if it has none."""
    text = row.get("step") or ""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _write(path: Path, keys: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, keys)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
