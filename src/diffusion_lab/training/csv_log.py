"""Lightning's CSV logger, made to go on with the file of the run it resumes."""

from __future__ import annotations

import csv
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class _AppendingWriter(ExperimentWriter):
    """Lightning's writer empties a folder that is not new; this one reads the header and goes on."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class AppendingCSVLogger(CSVLogger):
    """Writes `csv/metrics.csv` in the run folder: one row per logged step.

    Args:
        save_dir: the run folder; filled in by the run.
        flush_logs_every_n_steps: how often rows reach the disk.
    """

    def __init__(self, save_dir: str, flush_logs_every_n_steps: int = 100) -> None:
        super().__init__(save_dir, name="", version="csv", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    def experiment(self):
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _AppendingWriter(log_dir=self.log_dir)
        return super().experiment
