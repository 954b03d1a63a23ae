"""What a search varies: override keys, each with the values it may take in Hydra's own sweep syntax."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_SYNTAX = "choice(16,32), range(1,9,2), interval(0,0.5), tag(log, interval(1e-4, 1e-2)), tag(int, interval(1,8))"


@dataclass(frozen=True)
class Dimension:
    """One key and its values.

    Attributes:
        key: as it is typed before the ``=``; of a value, or of a group whose options are tried.
        text: as it is typed behind it.
        choices: the values by the text that is typed for each, where they are a list; else None.
        low: the least number, where there is an interval or a range.
        high: the greatest one, which is included.
        integer: whether the numbers are integers.
        step: between the numbers of a range; None in an interval.
        log: whether the logarithm is uniform.
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
        """The same in Optuna's words."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is not None:
            return CategoricalDistribution(list(self.choices.values()))
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def override(self, value: Any) -> str:
        """What is typed to give the key this value, to the last digit."""
        if self.choices is None:
            return f"{self.key}={value!r}"
        return next(f"{self.key}={text}" for text, v in self.choices.items() if type(v) is type(value) and v == value)

    def corners(self) -> list[Any]:
        """Every choice, or the two ends."""
        if self.choices is not None:
            return list(self.choices.values())
        kind = int if self.integer else float
        return [kind(self.low), kind(self.high)]

    def values(self) -> list[Any] | None:
        """All of them, or None if they are not countable."""
        if self.choices is not None:
            return list(self.choices.values())
        if self.integer:
            return list(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        return [self.low + index * self.step for index in range(round((self.high - self.low) / self.step) + 1)]


def spelled(arguments: Sequence[str]) -> list[str]:
    """A command line with the values that are typed for a key, ``optimizer.lr=interval(…)``, put into the space.

    In a sweep (``-m``) several values are several searches, and stay what they are.
    """
    if {"-m", "--multirun"} & set(arguments):
        return list(arguments)
    return [_spelled(argument) for argument in arguments]


def read(node: Any) -> dict[str, str]:
    """The space of a config node; a key whose values are null is taken out.

    Raises:
        LabError: if it is no mapping of whole keys.
    """
    if not isinstance(node, Mapping):
        raise LabError(f"search.space={node}: it must be a mapping of keys to their values, each {_SYNTAX}")
    for key, value in node.items():
        if isinstance(value, Mapping):
            raise LabError(
                f"search.space.{key} is no whole key; typed, it is '{key}.…=interval(1e-4,1e-2)', and in a file "
                f"'{key}.…: interval(1e-4, 1e-2)'"
            )
    return {str(key): str(value) for key, value in node.items() if value is not None}


def parsed(space: Mapping[str, str]) -> list[Dimension]:
    """The dimensions of a space, in its order.

    Raises:
        LabError: naming the key whose values cannot be read, are but one, or make no sense.
    """
    if not space:
        raise LabError(f"search.space has no key, so there is nothing to search; e.g. optimizer.lr: {_SYNTAX}")
    return [_dimension(key, text) for key, text in space.items()]


def overrides(space: Sequence[Dimension], params: Mapping[str, Any]) -> list[str]:
    """What is typed for a trial's values, in the order of the space."""
    return [dimension.override(params[dimension.key]) for dimension in space]


def _spelled(argument: str) -> str:
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return argument  # whoever composes the config says what is wrong with it
    key, _, text = argument.partition("=")
    if not override.is_sweep_override() or key.lstrip("+").startswith(("search", "hydra")):
        return argument
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'++search.space={{{key}: "{escaped}"}}'


def _dimension(key: str, text: str) -> Dimension:
    given = f"search.space.{key}={text}"
    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException as error:
        reason = " ".join(str(error).split()).partition(": ")[2] or str(error)
        raise LabError(f"{given}: it cannot be read ({reason}); it may be {_SYNTAX}") from error
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return _choice(key, text, override, sweep, given)
    if isinstance(sweep, RangeSweep):
        return _range(key, text, override, sweep, given)
    if isinstance(sweep, IntervalSweep):
        return _interval(key, text, sweep, given)
    raise LabError(f"{given}: it is one value; type {key}={text} to fix it, or let it be {_SYNTAX}")


def _choice(key: str, text: str, override: Override, sweep: ChoiceSweep, given: str) -> Dimension:
    _check_tags(sweep.tags, set(), given)
    sweep.shuffle = False
    plain = (bool, int, float)
    texts = list(override.sweep_string_iterator())
    values = [value if isinstance(value, plain) else text for value, text in zip(sweep.list, texts, strict=True)]
    if len(set(texts)) < len(texts) or len(texts) < 2:
        raise LabError(f"{given}: it must have two different values or more")
    return Dimension(key, text, dict(zip(texts, values, strict=True)))


def _range(key: str, text: str, override: Override, sweep: RangeSweep, given: str) -> Dimension:
    _check_tags(sweep.tags, set(), given)
    sweep.shuffle = False
    integer = all(isinstance(x, int) for x in (sweep.start, sweep.stop, sweep.step))
    kind = int if integer else float
    values = sorted(map(kind, override.sweep_string_iterator()))
    if len(values) < 2:
        raise LabError(f"{given}: it must have two values or more; the second number is not one of them")
    assert sweep.step is not None
    return Dimension(key, text, None, values[0], values[-1], integer, abs(float(sweep.step)))


def _interval(key: str, text: str, sweep: IntervalSweep, given: str) -> Dimension:
    _check_tags(sweep.tags, {"log", "int"}, given)
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise LabError(f"{given}: the first number must be less than the second")
    integer = "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int))
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise LabError(f"{given}: the ends of an interval of integers must be integers")
    if "log" in sweep.tags and low <= 0:
        raise LabError(f"{given}: a logarithm needs numbers above 0")
    return Dimension(key, text, None, low, high, integer, None, "log" in sweep.tags)


def _check_tags(tags: set[str], known: set[str], given: str) -> None:
    for tag in sorted(tags - known):
        raise LabError(
            f"{given}: there is no tag {tag} here; tag(log, interval(…)) and tag(int, interval(…)) are what there is"
        )
