"""Logarithmic axes with plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter


def set_log_scale_if_wide(axes: Axes, axis: str, values: Sequence[float]) -> None:
    """Make the axis logarithmic if the values are positive and the largest is more than 5 times the smallest."""
    if min(values) > 0 and max(values) > 5 * min(values):
        axes.set(**{f"{axis}scale": "log"})
        plain_log_ticks(axes.xaxis if axis == "x" else axes.yaxis)


def plain_log_ticks(axis: Axis) -> None:
    """Put ticks at 0.1, 0.2, 0.5 and so on, so that an axis of less than a decade has several numbers, too."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
