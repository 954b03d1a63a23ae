"""Options of scripts/evaluate.py that are typed for all evaluations, and what does not go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusion_lab.config.reader_schema import EvaluateConfig
from diffusion_lab.errors import LabError
from diffusion_lab.evaluation import Evaluation, Splits

#: Options that most evaluations have, and that can be typed once for all of them.
_COMMON = ("num_samples", "seeds", "split")


def typed_for_all(settings: EvaluateConfig) -> dict[str, Any]:
    """Return the nodes of the evaluations with the options that were typed for all of them.

    Raises:
        LabError: naming an option that none of them has.
    """
    typed = {key: getattr(settings, key) for key in _COMMON if getattr(settings, key) is not None}
    for key, value in typed.items():
        if not any(isinstance(node, Mapping) and key in node for node in settings.evaluation.values()):
            raise LabError(f"{key}={value}: none of the evaluations ({', '.join(settings.evaluation)}) has it")
    return with_common_options(settings.evaluation, typed)


def with_common_options(evaluations: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of evaluations with options that were typed for all of them, in those that have them."""
    return {
        name: {**node, **{key: value for key, value in typed.items() if key in node}} if node else node
        for name, node in evaluations.items()
    }


def check_samplers_matter(
    settings: EvaluateConfig, changes: Mapping[str, Any], evaluations: Mapping[str, Evaluation | None]
) -> None:
    """Raise LabError if something was typed about samples, and no evaluation draws any."""
    if any(evaluation is not None and evaluation.draws for evaluation in evaluations.values()):
        return
    typed = [f"{group}=" for group in changes]
    if settings.precision != "32-true":
        typed.append(f"precision={settings.precision}")
    if typed:
        names = ", ".join(name for name, evaluation in evaluations.items() if evaluation is not None)
        raise LabError(f"{', '.join(typed)} would change nothing: the evaluations asked for ({names}) draw no samples")


def split_warning(nodes: Mapping[str, Any], data: Splits) -> str | None:
    """Return a warning if evaluations are to choose by a validation split that is the test split; None otherwise."""
    chosen_by = [name for name, node in nodes.items() if isinstance(node, Mapping) and node.get("split") == "val"]
    if not chosen_by or data.val is not data.test:
        return None
    names = ", ".join(chosen_by)
    return f"split=val ({names}): this run validates on its test split, so what is chosen by it has no test left"
