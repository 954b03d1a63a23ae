"""The CSV log of a run that is resumed, and of columns that are added later."""

import csv
import os

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.training.csv_log import AppendingCSVLogger


def session(folder, *rows):
    """Log rows as one process does."""
    logger = AppendingCSVLogger(str(folder))
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
        logger.save()
    logger.finalize("success")


def read(folder):
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        table = list(csv.reader(file, strict=True))
    assert len({len(row) for row in table}) == 1
    return table


def test_a_resumed_run_goes_on_in_its_file(tmp_path):
    folder = tmp_path / "outputs" / "run"  # which is not there yet
    session(folder, (0, {"loss": 1.0}), (1, {"loss": 0.5}))
    session(folder, (2, {"loss": 0.25}))
    assert read(folder) == [["loss", "step"], ["1.0", "0"], ["0.5", "1"], ["0.25", "2"]]


def test_a_column_that_comes_late_is_empty_before(tmp_path):
    session(tmp_path, (0, {"loss": 1.0}), (0, {"a/rate": 3.0, "val": 2.0}))
    session(tmp_path, (1, {"norm": 7.0}), (2, {"loss": 0.5, "norm": 8.0}))
    assert read(tmp_path) == [
        ["a/rate", "loss", "norm", "step", "val"],
        ["", "1.0", "", "0", ""],
        ["3.0", "", "", "0", "2.0"],
        ["", "", "7.0", "1", ""],
        ["", "0.5", "8.0", "2", ""],
    ]


def test_a_row_that_was_not_written_whole_is_no_row(tmp_path):
    rows = [(step, {"loss": 1.0, "val": 2.0}) for step in range(20)]
    session(tmp_path, *rows)
    path = tmp_path / "csv" / "metrics.csv"
    path.write_bytes(path.read_bytes()[: -len("9,2.0\r\n")])  # step 19 is left as step 1
    AppendingCSVLogger(str(tmp_path)).remove_rows_from(10)
    session(tmp_path, *rows[10:])
    assert read(tmp_path) == [["loss", "step", "val"], *(["1.0", str(step), "2.0"] for step in range(20))]


def test_rows_are_on_the_disk_when_they_are_saved(tmp_path, monkeypatch):
    session(tmp_path, (0, {"loss": 1.0}))
    path, flushed = tmp_path / "csv" / "metrics.csv", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    session(tmp_path, (1, {"loss": 0.5}))
    assert flushed == [path.stat().st_size]


def test_of_the_rows_that_are_removed_are_those_whose_step_is_no_number(tmp_path):
    session(tmp_path, (0, {"loss": 1.0}))
    steps = ("", "x", "-1", "1.0", "1" * 21, "9" * 20)
    with (tmp_path / "csv" / "metrics.csv").open("ab") as file:
        file.write("".join(f"2.0,{step}\r\n" for step in steps).encode())
    AppendingCSVLogger(str(tmp_path)).remove_rows_from(10**21)
    assert read(tmp_path) == [["loss", "step"], ["1.0", "0"], ["2.0", "9" * 20]]


def test_the_rows_of_a_step_and_of_later_ones_are_removed_and_there_need_be_none(tmp_path):
    AppendingCSVLogger(str(tmp_path)).remove_rows_from(0)
    assert not (tmp_path / "csv").exists()
    session(tmp_path, *((step, {"loss": float(step)}) for step in range(4)))
    AppendingCSVLogger(str(tmp_path)).remove_rows_from(2)
    assert read(tmp_path) == [["loss", "step"], ["0.0", "0"], ["1.0", "1"]]


def test_rows_that_cannot_be_written_are_kept_for_the_next_time(tmp_path):
    path, away = tmp_path / "csv" / "metrics.csv", tmp_path / "away"
    logger = AppendingCSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 1.0}, 0)
    logger.save()
    path.rename(away)
    logger.log_metrics({"loss": 0.5}, 1)
    with pytest.raises(LabError, match=rf"^cannot write {path}: No such file or directory$"):
        logger.save()
    away.rename(path)
    for _ in range(2):
        logger.save()
    assert read(tmp_path) == [["loss", "step"], ["1.0", "0"], ["0.5", "1"]]


def test_what_is_no_table_is_refused_in_one_line(tmp_path):
    path = tmp_path / "csv" / "metrics.csv"
    path.parent.mkdir()
    path.write_text(f"loss,step\n{'1' * 200_000},0\n")
    for use in (lambda logger: logger.remove_rows_from(0), lambda logger: logger.experiment):
        with pytest.raises(LabError, match=rf"^{path} is damaged: field larger than field limit.*$"):
            use(AppendingCSVLogger(str(tmp_path)))
