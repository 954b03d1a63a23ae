"""Evaluations while training, on few samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytorch_lightning as pl

from diffusion_lab import console
from diffusion_lab.errors import LabError
from diffusion_lab.evaluation import Result
from diffusion_lab.training.epoch_interval import EpochInterval, stop_if_requested


class PeriodicEvaluation(EpochInterval):
    """Asks the run's evaluations every few epochs, with the weights that samples are drawn with, and logs the numbers.

    Args:
        evaluate: from a number of samples and of sampling seeds, the number of steps taken, and a function that is to
            be called after each sampling step, to the results.
        every_n_epochs: how often; 0 for only when training has ended.
        num_samples: how many samples for each sampling seed, in place of what an evaluation says.
        seeds: how many sampling seeds.
    """

    def __init__(
        self,
        evaluate: Callable[[int, int, int, Callable[[object], None]], Mapping[str, Result]],
        every_n_epochs: int = 0,
        num_samples: int = 200,
        seeds: int = 1,
    ) -> None:
        for key, value, least in (
            ("every_n_epochs", every_n_epochs, 0),
            ("num_samples", num_samples, 1),
            ("seeds", seeds, 1),
        ):
            if value < least:
                raise ValueError(f"callbacks.evaluation.{key} must be at least {least}, got {value}")
        self.evaluate = evaluate
        super().__init__(every_n_epochs)
        self.num_samples = num_samples
        self.seeds = seeds

    def act(self, trainer: pl.Trainer, epoch: int, step: int) -> None:
        try:
            results = self.evaluate(self.num_samples, self.seeds, step, stop_if_requested(trainer))
        except LabError as error:  # early weights may diverge, and training goes on
            console.current().warning(f"no evaluation after {step:,} steps: {error}")
            return
        for name, result in results.items():
            numbers = {key: value for key, value in result.as_dict().items() if isinstance(value, int | float)}
            for logger in trainer.loggers:
                logger.log_metrics({f"evaluation/{name}/{key}": value for key, value in numbers.items()}, step)
