"""Metric names: which direction is better, and the message for a metric that no run has."""

from __future__ import annotations

import re
from collections.abc import Collection

from diffusion_lab.errors import LabError, did_you_mean

#: The last part of a name that contains one of these words decides, as `loss` does in ``val/loss_ema``.
_LOWER_IS_BETTER = re.compile(
    r"(\w*_)?(loss|error|fid|kid|nll|nearer|missing|total_variation|(nats|bits)_per_(token|character|dim)|bpd|perplexity|overlap|longest_copy|shuffled|wall_time_s|parameters|peak_MiB)(_\w*)?"
)
_HIGHER_IS_BETTER = re.compile(
    r"(\w*_)?(samples|real|accuracy|classes|distinct|precision|recall|density|coverage|\w+_per_s|inception_score)(_\w*)?"
)

#: First parts of names that are recorded during training and rarely compared: they are not suggested.
_NOT_SUGGESTED = ("optimizer", "step")


def lower_is_better(metric: str, direction: str | None = None) -> bool:
    """Return whether lower values of a metric are better.

    Args:
        metric: name, as in ``recognition.samples``.
        direction: ``lower`` or ``higher``, which overrides what is known of the name.

    Raises:
        LabError: if the direction is neither known nor given.
    """
    if direction is not None:
        return direction == "lower"
    for part in reversed(re.split(r"[./]", metric)):
        for pattern in (_LOWER_IS_BETTER, _HIGHER_IS_BETTER):
            if pattern.fullmatch(part):
                return pattern is _LOWER_IS_BETTER
    raise LabError(
        f"metric={metric}: whether lower or higher is better is unknown; give direction=lower or direction=higher"
    )


def unknown_metric_message(metric: str, known: Collection[str]) -> str:
    """Return the message for a metric that no run has, with the most similar known one."""
    suggested = [name for name in known if name.partition("/")[0] not in _NOT_SUGGESTED]
    return f"metric={metric}: no run has it{did_you_mean(metric, known) or ';'} there are {', '.join(suggested)}"
