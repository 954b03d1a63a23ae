"""Silence about what a user can do nothing about."""

from __future__ import annotations

import logging
import warnings


def calm() -> None:
    """Keep libraries from saying what nobody asked; each line says whose remark it is, and why it may go."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*|lightning_fabric\..*", category=FutureWarning)
    # The data is in memory, and gathered faster than a worker process could hand it over.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A log of every 50th step of an epoch of 10 has no rows, and the epoch's own row still tells its loss.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
