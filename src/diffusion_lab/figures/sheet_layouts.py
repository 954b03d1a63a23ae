"""Layouts of figures: which items stand in which row and column. A codec draws them, or writes them as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sheet:
    """Rows of items, with labels above the columns and names beside the rows.

    Attributes:
        title: of the whole.
        rows: [n, *D] data each.
        columns: a label above each column; empty for none.
        names: a name beside each row; empty for none.
        size: of one item in the picture, in inches.
        group: how many columns belong together, with a gap before the next; 0 for no groups.
        confidence: for each row [n, *D] float, how probable each part of its items was when it was last predicted, NaN
            where it was not; empty where that is not known.
    """

    title: str
    rows: Sequence[Tensor]
    columns: Sequence[str] = ()
    names: Sequence[str] = ()
    size: float = 1.0
    group: int = 0
    confidence: Sequence[Tensor] = ()


def grid_sheet(samples: Tensor, title: str, labels: Tensor | None = None, columns: int = 8) -> Sheet:
    """Lay samples [N, *D] out in so many columns; with `labels` [N] each class is a row of its own, with its name."""
    if labels is None:
        return Sheet(title, samples.split(min(columns, len(samples))), size=0.75)
    classes = labels.unique().tolist()
    rows = [samples[labels == label] for label in classes]
    return Sheet(title, rows, names=[str(label) for label in classes], size=0.75)


def strip_sheet(
    states: Sequence[Tensor], labels: Sequence[str], title: str, confidence: Sequence[Tensor] = ()
) -> Sheet:
    """Lay states [N, *D] out as columns, each with its label, and the N samples as rows.

    Args:
        states: [N, *D] each.
        labels: of each state.
        title: of the whole.
        confidence: [N, *D'] in each state; see `Sheet`.

    Raises:
        ValueError: if there are not as many labels as states.
    """
    if len(labels) != len(states):
        raise ValueError(f"{len(states)} states need as many labels, got {len(labels)}")
    rows, known = ([torch.stack(row) for row in zip(*parts, strict=True)] for parts in (states, confidence))
    return Sheet(title, rows, labels, confidence=known)


def forward_sheet(states: Sequence[Tensor], times: Sequence[float], steps: int | None, item: str) -> Sheet:
    """Show a few items, each destroyed up to the times given; labelled as in `denoising_sheet`."""
    labels = [f"t = {time:.2f}" if steps is None else f"t = {round(time * steps) - 1}" for time in times]
    return strip_sheet(states, labels, f"Forward process: real {item}s, ever more destroyed")


def denoising_sheet(
    states: Sequence[Tensor],
    times: Sequence[float],
    steps: int | None = None,
    confidence: Sequence[Tensor] = (),
    caption: str = "",
) -> Sheet:
    """Show at most four samples on their way from noise, in eleven states, or in all if there are fewer.

    Args:
        states: [N, *D] each; those that are shown begin with the first, end with the last and lie evenly between them.
        times: of each state, from 1, noise, to 0.
        steps: label the states with the step index of a process of so many steps; with the time where None.
        confidence: [N, *D'] in each state; see `Sheet`.
        caption: what stands below the title, such as the run and its sampler.
    """
    last, columns = len(states) - 1, min(len(states), 11)
    chosen = [round(k * last / max(columns - 1, 1)) for k in range(columns)]
    # After the step with index i the state stands at time i/T.
    labels = [f"t = {times[k]:.2f}" if steps is None else f"t = {round(times[k] * steps)}" for k in chosen]
    labels[0] = "start"
    states, confidence = ([parts[k][:4] for k in chosen if parts] for parts in (states, confidence))
    title = "Denoising: from noise to samples" + (f"\n{caption}" if caption else "")
    return strip_sheet(states, labels, title, confidence)


def real_and_generated_sheet(real: Tensor, generated: Tensor, item: str) -> Sheet:
    """Show a row of real items above a row of generated ones, of equal number."""
    return Sheet(f"Real {item}s above generated ones", [real, generated], names=["real", "generated"], size=0.9)


def inversion_sheet(real: Tensor, noise: Tensor, again: Tensor, item: str, rmse: float) -> Sheet:
    """Show real items, the noise that they become, and what is drawn from it: [N, *D] each."""
    names = [item, "noise", "drawn again"]
    return Sheet(f"From real {item}s to noise and back, RMSE {rmse:.3g}", [real, noise, again], names=names, size=0.75)


def inpainting_sheet(given: Tensor, unknown: Tensor, samples: Tensor, item: str) -> Sheet:
    """Show an item [*D], the item without what is `unknown` [*D], and samples [N, *D] that complete it."""
    masked = torch.where(unknown, torch.zeros_like(given), given)
    completions = samples.split(8)
    names = ["given, masked", "completions", *[""] * (len(completions) - 1)]
    return Sheet(
        f"Completions of an {item}" if item[0] in "aeiou" else f"Completions of a {item}",
        [torch.stack([given, masked]), *completions],
        names=names,
        size=0.75,
    )


def nearest_training_sheet(samples: Tensor, nearest: Tensor, distances: Tensor, item: str, columns: int = 10) -> Sheet:
    """Show the samples that are nearest to training items, each above its own, the nearest pair first.

    Args:
        samples: [N, *D].
        nearest: [N, *D], the training item that is nearest to each.
        distances: [N], from each to the other.
        item: the word for one item.
        columns: how many pairs to show.
    """
    chosen = distances.argsort(stable=True)[:columns]
    return Sheet(
        f"Generated {item}s above the nearest training {item}s, and their distance in feature space\n"
        f"({len(chosen)} nearest pairs of {len(samples)})",
        [samples[chosen], nearest[chosen]],
        [f"{distance:.3g}" for distance in distances[chosen].tolist()],
        ["generated", "training"],
    )


def typicality_sheet(samples: Tensor, order: Tensor, item: str, rows: int = 8, columns: int = 10) -> Sheet:
    """Show samples from the most typical, at the top left, to the least typical.

    Args:
        samples: [N, *D].
        order: [N] int64, the numbers of the samples from the most to the least typical.
        item: the word for one item.
        rows: the most rows to show.
        columns: samples in a row; of more than fit, evenly spaced ones are shown, the first and the last included.
    """
    count = min(len(order), rows * columns)
    chosen = order[torch.linspace(0, len(order) - 1, count, dtype=torch.float64).round().long()]
    shown = samples[chosen].split(columns)
    names = ["most typical", *[""] * (len(shown) - 2), "least typical"] if len(shown) > 1 else ["by typicality"]
    title = f"Generated {item}s from most to least typical"
    if count < len(order):
        title += f": {count} of {len(order)}, evenly spaced"
    return Sheet(title, shown, names=names, size=0.75)
