"""Silence about what a user can do nothing about."""

from __future__ import annotations

import logging
import warnings


def calm() -> None:
    """Keep libraries from saying what nobody can act on; what they say besides comes through."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*|lightning_fabric\..*", category=FutureWarning)
    # The data is in memory, and gathered faster than a worker process could hand it over.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The scaler of trainer.precision=16-mixed leaves out the first steps, until it has found a scale that fits.
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
    # A log of every 50th step of an epoch of 10 has no rows, and the epoch's own row still tells its loss.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    for name in _REMARKS:
        logging.getLogger(name).addFilter(_of_use)


#: The start of what is not worth a line, by the name of the logger that says it.
_REMARKS = {
    "torch.utils.cpp_extension": ("No CUDA runtime is found",),  # by torch.compile, on a machine without a GPU
    "pytorch_lightning.loggers.mlflow": ("Experiment with name",),  # that it is new, and made
    "mlflow.store.db.utils": ("Creating initial", "Updating database"),
}


def _of_use(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_REMARKS[record.name])
