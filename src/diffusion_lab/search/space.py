"""The space of a search: config keys, each with the values it may take, in Hydra's sweep syntax."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from diffusion_lab.config.overrides import parsed, quoted
from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_SYNTAX = "choice(16,32), range(1,9,2), interval(0,0.5), tag(log, interval(1e-4, 1e-2)), tag(int, interval(1,8))"


@dataclass(frozen=True)
class Dimension:
    """A key of the space and the values that it may take.

    Attributes:
        key: the config key or group, as it is typed before the ``=``.
        text: the values, as they are typed after it.
        choices: if the values are a list, each value by the text that is typed for it; else None.
        low: the smallest number of an interval or range.
        high: the largest number of an interval or range, inclusive.
        integer: whether the numbers are integers.
        step: the distance between the numbers of a range; None for an interval.
        log: whether numbers are sampled uniformly in their logarithm.
    """

    key: str
    text: str
    choices: Mapping[str, Any] | None = None
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    step: float | None = None
    log: bool = False

    def distribution(self) -> BaseDistribution:
        """Return the values as an Optuna distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is not None:
            return CategoricalDistribution(list(self.choices.values()))
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def override(self, value: Any) -> str:
        """Return the override that sets the key to exactly this value."""
        if self.choices is None:
            return f"{self.key}={value!r}"
        return next(f"{self.key}={text}" for text, v in self.choices.items() if type(v) is type(value) and v == value)

    def extremes(self) -> list[Any]:
        """Return every choice, or the two ends of an interval or range."""
        if self.choices is not None:
            return list(self.choices.values())
        kind = int if self.integer else float
        return [kind(self.low), kind(self.high)]

    def all_values(self) -> list[Any] | None:
        """Return all values; None for an interval of real numbers."""
        if self.choices is not None:
            return list(self.choices.values())
        if self.integer:
            return list(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        return [self.low + index * self.step for index in range(round((self.high - self.low) / self.step) + 1)]


def move_sweeps_into_space(arguments: Sequence[str]) -> list[str]:
    """Return a command line in which overrides of several values, ``optimizer.lr=interval(…)``, set `search.space`.

    With ``-m`` the command line is returned as it is: there, several values mean several searches.
    """
    if {"-m", "--multirun"} & set(arguments):
        return list(arguments)
    return [_move_sweep_into_space(argument) for argument in arguments]


def read_space(node: Any) -> dict[str, str]:
    """Return the space in a config node: the values of each key as text. Keys whose values are null are left out.

    Raises:
        LabError: if the node is not a mapping of complete keys.
    """
    if not isinstance(node, Mapping):
        raise LabError(f"search.space={node}: it must be a mapping of keys to their values, each {_SYNTAX}")
    for key, value in node.items():
        if isinstance(value, Mapping):
            raise LabError(
                f"search.space.{key} is not a complete key: type '{key}.…=interval(1e-4,1e-2)', or write "
                f"'{key}.…: interval(1e-4, 1e-2)' in a file"
            )
    return {str(key): str(value) for key, value in node.items() if value is not None}


def parse_space(space: Mapping[str, str]) -> list[Dimension]:
    """Return the dimensions of a space, in its order.

    Raises:
        LabError: if a key has values that cannot be read or make no sense, or only one; the message names the key.
    """
    if not space:
        raise LabError(f"search.space has no key, so there is nothing to search; e.g. optimizer.lr: {_SYNTAX}")
    return [_dimension(key, text) for key, text in space.items()]


def trial_overrides(space: Sequence[Dimension], params: Mapping[str, Any]) -> list[str]:
    """Return the overrides that set a trial's values, in the order of the space."""
    return [dimension.override(params[dimension.key]) for dimension in space]


def _move_sweep_into_space(argument: str) -> str:
    override = parsed(argument)
    key, _, text = argument.partition("=")
    if override is None or not override.is_sweep_override() or key.lstrip("+").startswith(("search", "hydra")):
        return argument
    return f"++search.space={{{key}: {quoted(text)}}}"


def _dimension(key: str, text: str) -> Dimension:
    setting = f"search.space.{key}={text}"
    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException as error:
        reason = " ".join(str(error).split()).partition(": ")[2] or str(error)
        raise LabError(f"{setting}: it cannot be read ({reason}); it may be {_SYNTAX}") from error
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return _choice(key, text, override, sweep, setting)
    if isinstance(sweep, RangeSweep):
        return _range(key, text, override, sweep, setting)
    if isinstance(sweep, IntervalSweep):
        return _interval(key, text, sweep, setting)
    raise LabError(f"{setting}: it is one value; type {key}={text} to fix it, or give it several: {_SYNTAX}")


def _choice(key: str, text: str, override: Override, sweep: ChoiceSweep, setting: str) -> Dimension:
    _check_tags(sweep.tags, set(), setting)
    sweep.shuffle = False
    plain = (bool, int, float)
    texts = list(override.sweep_string_iterator())
    values = [value if isinstance(value, plain) else text for value, text in zip(sweep.list, texts, strict=True)]
    if len(set(texts)) < len(texts) or len(texts) < 2:
        raise LabError(f"{setting}: it must have two different values or more")
    return Dimension(key, text, dict(zip(texts, values, strict=True)))


def _range(key: str, text: str, override: Override, sweep: RangeSweep, setting: str) -> Dimension:
    _check_tags(sweep.tags, set(), setting)
    sweep.shuffle = False
    integer = all(isinstance(x, int) for x in (sweep.start, sweep.stop, sweep.step))
    kind = int if integer else float
    values = sorted(map(kind, override.sweep_string_iterator()))
    if len(values) < 2:
        raise LabError(f"{setting}: it must have two values or more; the second number is not one of them")
    assert sweep.step is not None
    return Dimension(key, text, None, values[0], values[-1], integer, abs(float(sweep.step)))


def _interval(key: str, text: str, sweep: IntervalSweep, setting: str) -> Dimension:
    _check_tags(sweep.tags, {"log", "int"}, setting)
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise LabError(f"{setting}: the first number must be less than the second")
    integer = "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int))
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise LabError(f"{setting}: the ends of an interval of integers must be integers")
    if "log" in sweep.tags and low <= 0:
        raise LabError(f"{setting}: a logarithm needs numbers above 0")
    return Dimension(key, text, None, low, high, integer, None, "log" in sweep.tags)


def _check_tags(tags: set[str], known: set[str], setting: str) -> None:
    for tag in sorted(tags - known):
        raise LabError(
            f"{setting}: there is no tag {tag} here; the only tags are tag(log, interval(…)) and tag(int, interval(…))"
        )
