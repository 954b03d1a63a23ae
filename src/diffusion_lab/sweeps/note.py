"""Notes in a job's record which folder its run has."""

from __future__ import annotations

import pytorch_lightning as pl

from diffusion_lab.sweeps.job_record import JobRecord


class NoteFolder(pl.Callback):
    """Writes it down as soon as the trainer is there: a job that is killed is found again."""

    def __init__(self, record: JobRecord) -> None:
        self.record = record

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.record.write(folder=trainer.default_root_dir)
