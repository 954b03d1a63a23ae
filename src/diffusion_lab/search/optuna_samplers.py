"""Who chooses the values of a trial, and who ends one early: Optuna's samplers and pruners by their names."""

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


def sampler(name: str, seed: int, space: Sequence[Dimension]) -> BaseSampler:
    """The sampler of this name.

    Raises:
        LabError: naming what the sampler cannot search.
    """
    if name == "grid":
        return _Grid(grid(space), seed)
    if name == "qmc":  # one sequence, of which the storage counts the elements
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False)
    kinds: dict[str, Callable[[int], BaseSampler]] = {
        "tpe": lambda s: optuna.samplers.TPESampler(seed=s, constant_liar=True),
        "random": lambda s: optuna.samplers.RandomSampler(seed=s),
        "gp": lambda s: optuna.samplers.GPSampler(seed=s),
        "nsgaii": lambda s: optuna.samplers.NSGAIISampler(seed=s),
    }
    return SeededByTrial(kinds[name], seed)


def grid(space: Sequence[Dimension]) -> dict[str, list[Any]]:
    """All values of every key.

    Raises:
        LabError: naming the key whose values are not countable.
    """
    values = {}
    for dimension in space:
        found = dimension.values()
        if found is None:
            raise LabError(
                f"search.sampler=grid needs values that can be counted: search.space.{dimension.key}={dimension.text} "
                "is an interval; make it a choice(…) or a range(…)"
            )
        values[dimension.key] = found
    return values


def pruner(name: str) -> BasePruner:
    """The pruner of this name. It compares losses of like validations: see `Watch`."""
    if name == "median":  # neither the first trials nor the first validation, when all are bad
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.NopPruner()


class SeededByTrial(BaseSampler):
    """A sampler whose random numbers follow from the search's seed and the trial's number alone.

    So workers that share a seed do not draw the same trials, and a search that is stopped and started again does
    not draw its first ones once more.

    Args:
        kind: makes the sampler of a seed.
        seed: the search's.
    """

    def __init__(self, kind: Callable[[int], BaseSampler], seed: int) -> None:
        self._kind = kind
        self._seed = seed
        self._sampler = self._made(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler = self._made(int(np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Any:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _made(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self._kind(seed)


class _Grid(optuna.samplers.GridSampler):
    """Optuna's, which would stop a loop of Optuna's own; here `n_trials` is the size of the grid at most."""

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        pass
