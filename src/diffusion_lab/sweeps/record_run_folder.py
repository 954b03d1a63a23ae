"""A Lightning callback that writes a job's run folder into its record."""

from __future__ import annotations

import pytorch_lightning as pl

from diffusion_lab.sweeps.job_record import JobRecord


class RecordRunFolder(pl.Callback):
    """Writes the run folder into the job's record before training starts, so that a killed job can be resumed."""

    def __init__(self, record: JobRecord) -> None:
        self.record = record

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.record.update(folder=trainer.default_root_dir)
