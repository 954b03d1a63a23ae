"""Optuna's samplers, which choose the values of trials, and its pruners, which end trials early, by their names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from diffusion_lab.errors import LabError
from diffusion_lab.search.space import Dimension


def make_sampler(name: str, seed: int, space: Sequence[Dimension]) -> BaseSampler:
    """Return the sampler of this name.

    Args:
        name: an option of ``search.sampler``.
        seed: the search's seed.
        space: the dimensions of the search.

    Raises:
        LabError: if the sampler cannot search this space; the message names the key.
    """
    if name == "grid":
        return _Grid(grid_values(space), seed)
    if name == "qmc":  # it continues one sequence, whose position is kept in the storage
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False)
    makers: dict[str, Callable[[int], BaseSampler]] = {
        "tpe": lambda s: optuna.samplers.TPESampler(seed=s, constant_liar=True),
        "random": lambda s: optuna.samplers.RandomSampler(seed=s),
        "gp": lambda s: optuna.samplers.GPSampler(seed=s),
        "nsgaii": lambda s: optuna.samplers.NSGAIISampler(seed=s),
    }
    return SeededByTrial(makers[name], seed)


def grid_values(space: Sequence[Dimension]) -> dict[str, list[Any]]:
    """Return all values of every key of the space.

    Raises:
        LabError: if a key has infinitely many values; the message names it.
    """
    values = {}
    for dimension in space:
        found = dimension.all_values()
        if found is None:
            raise LabError(
                f"search.sampler=grid needs a list of values, and search.space.{dimension.key}={dimension.text} "
                "is an interval; make it a choice(…) or a range(…)"
            )
        values[dimension.key] = found
    return values


def make_pruner(name: str) -> BasePruner:
    """Return the pruner of this name, which compares the losses that `TrialCallback` reports."""
    if name == "median":  # not the first trials, nor any at its first validation, when all losses are high
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.NopPruner()


class SeededByTrial(BaseSampler):
    """A sampler whose random numbers depend only on the search's seed and the trial's number.

    So workers with the same seed do not draw the same values, and a search that is stopped and started again does not
    repeat its first trials.

    Args:
        make: makes a sampler with the given seed.
        seed: the search's seed.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._sampler = self._make_sampler(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler = self._make_sampler(int(np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Any:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _make_sampler(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return self._make(seed)


class _Grid(optuna.samplers.GridSampler):
    """Optuna's grid sampler without its call of `study.stop`, which only works inside `study.optimize`.

    The search ends by itself, since its `n_trials` is at most the size of the grid.
    """

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        pass
