"""Filters for the logging and warnings of libraries."""

from __future__ import annotations

import logging
import warnings


def silence_library_warnings() -> None:
    """Hide what libraries report and a user can do nothing about; their other messages still appear."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*|lightning_fabric\..*", category=FutureWarning)
    # The data is in memory, and gathered faster than a worker process could pass it on.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The gradient scaler of trainer.precision=16-mixed skips the first steps, until it has found a scale that fits.
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
    # Logging every 50th step of an epoch of 10 steps writes no rows, but the epoch's own row still has its loss.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    for name in _HIDDEN_MESSAGES:
        logging.getLogger(name).addFilter(_is_shown)


#: How hidden log messages begin, by the name of their logger.
_HIDDEN_MESSAGES = {
    "torch.utils.cpp_extension": ("No CUDA runtime is found",),  # by torch.compile, on a machine without a GPU
    "pytorch_lightning.loggers.mlflow": ("Experiment with name",),  # a new experiment was created
    "mlflow.store.db.utils": ("Creating initial", "Updating database"),
}


def _is_shown(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_HIDDEN_MESSAGES[record.name])
