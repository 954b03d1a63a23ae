"""Plans of draws by scripts/sample.py: the start, the known part of the samples, and the figure that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.config.instantiate import checked_call
from diffusion_lab.config.reader_schema import SampleConfig
from diffusion_lab.errors import LabError
from diffusion_lab.figures import Sheet, grid_sheet, inpainting_sheet, inversion_sheet
from diffusion_lab.processes import Gaussian
from diffusion_lab.runs.draws import SHOWN
from diffusion_lab.runs.load import Run
from diffusion_lab.runs.named_data import data_hash, named_data, named_mask
from diffusion_lab.sampling import Constraint, Draw, GivenTokens, Pipeline, RePaint
from diffusion_lab.schedules import NoisyData

#: How many images the figure of an inversion shows.
_SHOWN_INVERTED = 16

#: How many steps RePaint takes back at once, where as many are taken (Lugmayr et al. 2022).
_JUMP_LENGTH = 10
#: How often it takes each stretch of them.
_RESAMPLINGS = 10


@dataclass(frozen=True)
class DrawPlan:
    """A draw that has been checked.

    Attributes:
        num_samples: how many.
        labels: of each sample; None for those that the pipeline chooses.
        figure: the name of the figure's file.
        sheet: from the samples to their figure.
        options: more arguments of `Pipeline.draw`.
        given: what else decides the samples, for the record.
        results: from the samples to what is measured on them, for the record.
    """

    num_samples: int
    labels: list[int] | None
    figure: str
    sheet: Callable[[Draw], Sheet]
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    results: Callable[[Draw], Mapping[str, Any]] = lambda drawn: {}


def make_plan(run: Run, settings: SampleConfig, progress: bool) -> DrawPlan:
    """Return the plan that the settings ask for; for an inversion, this turns images into noise.

    Raises:
        LabError: naming the key that does not fit.
    """
    if settings.invert is not None:
        return _inversion(run, settings, progress)
    if settings.inpaint.image is not None:
        return _inpainting(run, settings)
    if settings.prompt is not None or settings.infill is not None:
        return _given_text(run, settings)
    labels = typed_labels(run, settings.labels, settings.num_samples)
    options, given = _length(run, settings)
    return DrawPlan(settings.num_samples, labels, "grid", lambda drawn: _grid(drawn, run, settings), options, given)


def _length(run: Run, settings: SampleConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the draw, and what goes on record, for a length that was typed.

    Raises:
        LabError: if the run draws no other length than that of its training.
    """
    if settings.length is None:
        return {}, {}
    run.parts.pipeline.whole_blocks(settings.length)
    return {"length": settings.length}, {"length": settings.length}


def typed_labels(run: Run, labels: Any, num_samples: int) -> list[int] | None:
    """Return a label for each sample: the one or several that were typed, in turn; None where none was."""
    if labels is None:
        return None
    if run.parts.pipeline.labels is None:
        raise LabError(f"labels={labels}: the run's network ({type(run.parts.network).__name__}) takes no labels")
    typed = [labels] if isinstance(labels, int) else list(labels)
    for one in typed:
        if not 0 <= one < run.parts.pipeline.labels:
            last = run.parts.pipeline.labels - 1
            raise LabError(f"labels={one}: the run's data has the classes 0 to {last}")
    return [typed[i % len(typed)] for i in range(num_samples)]


def _grid(drawn: Draw, run: Run, settings: SampleConfig) -> Sheet:
    title = f"Samples after {run.step:,} steps, seed {settings.seed}"
    shown_first = slice(4 * SHOWN)
    labels = None if drawn.condition is None else drawn.condition[shown_first]
    return grid_sheet(drawn.samples[shown_first], title, labels, columns=8 if len(drawn.samples) <= SHOWN else 16)


def _inversion(run: Run, settings: SampleConfig, progress: bool) -> DrawPlan:
    pipeline, text = run.parts.pipeline, str(settings.invert)
    checked_call(pipeline.inversion, "invert")  # refuses a sampler that adds noise, before any data is read
    named = named_data(text, run.parts.data, "invert", settings.num_samples)
    if not named.items.is_floating_point():
        raise LabError("invert: it is for data of values, such as images, and the run's data is tokens")
    count = len(named.items)
    labels = typed_labels(run, settings.labels, count)
    if labels is None and pipeline.labels is not None:
        if named.labels is None:
            raise LabError(f"invert={text}: the run's network takes labels; say of which class it is with labels=…")
        labels = named.labels.tolist()
    inverted = pipeline.invert(named.items, labels, settings.batch_size, progress, settings.precision)
    noise = inverted.samples

    def results(drawn: Draw) -> dict[str, Any]:
        error = (drawn.samples.double() - named.items.double()).square().mean().sqrt()
        return {"reconstruction_rmse": float(error), "inversion_evaluations": inverted.evaluations}

    def sheet(drawn: Draw) -> Sheet:
        first = slice(_SHOWN_INVERTED)
        with torch.no_grad():
            scaled = pipeline.codec.decode(noise[first] / noise.std())
        rows = named.items[first], scaled, drawn.samples[first]
        return inversion_sheet(*rows, run.parts.data.item, results(drawn)["reconstruction_rmse"])

    given = {"invert": {"data": text, "data_hash": data_hash(named.items)}}
    return DrawPlan(count, labels, "inversion", sheet, {"start": noise}, given, results)


def _inpainting(run: Run, settings: SampleConfig) -> DrawPlan:
    pipeline, data, typed = run.parts.pipeline, run.parts.data, settings.inpaint
    assert typed.image is not None
    assert typed.mask is not None
    if tuple(pipeline.shape) != tuple(data.shape):
        raise LabError(
            f"inpaint.image: the run's codec turns data of the shape {list(data.shape)} into codes of "
            f"{list(pipeline.shape)}, in which no part of the data can be known alone"
        )
    unknown = named_mask(typed.mask, data, "inpaint.mask")
    named = named_data(typed.image, data, "inpaint.image")
    labels = typed_labels(run, settings.labels, settings.num_samples)
    if labels is None and pipeline.labels is not None and named.labels is not None:
        labels = named.labels.tolist() * settings.num_samples
    with torch.no_grad():
        known = pipeline.codec.encode(named.items)[0]

    constraint = _repaint(pipeline, settings, "inpaint", known, unknown)
    given = {
        "image": typed.image,
        "image_hash": data_hash(named.items),
        "mask": typed.mask,
        "mask_hash": data_hash(unknown),
        "jump_length": constraint.jump_length,
        "resamplings": constraint.resamplings,
    }

    def sheet(drawn: Draw) -> Sheet:
        return inpainting_sheet(named.items[0], unknown, drawn.samples[:SHOWN], data.item)

    options = {"constraint": constraint}
    return DrawPlan(settings.num_samples, labels, "inpainting", sheet, options, {"inpaint": given})


def _given_text(run: Run, settings: SampleConfig) -> DrawPlan:
    """Return the plan of samples that begin with a prompt, or complete a text with blanks."""
    pipeline = run.parts.pipeline
    codec, key = pipeline.codec, "prompt" if settings.infill is None else "infill"
    typed = settings.prompt if settings.infill is None else settings.infill
    assert typed is not None
    tokens, given = checked_call(lambda: codec.with_blanks(typed, settings.blank if key == "infill" else None), key)
    options, of_length = _length(run, settings)
    length, count = settings.length or run.parts.data.shape[0], len(tokens)
    if count > length:
        raise LabError(f"{key} has {count:,} tokens, and the run's sequences have {length:,}: shorten it")
    drawn_length = length if settings.length is None else pipeline.whole_blocks(length)
    tokens, given = (torch.nn.functional.pad(x, (0, drawn_length - count)) for x in (tokens, given))
    constraint, how = _constraint(pipeline, settings, key, tokens, given)
    shown = length if key == "prompt" else count
    labels = typed_labels(run, settings.labels, settings.num_samples)

    def sheet(drawn: Draw) -> Sheet:
        title = f"Samples after {run.step:,} steps, seed {settings.seed}, given: {typed}"
        return grid_sheet(drawn.samples[:SHOWN, :shown], title)

    record = {key: typed} | ({"blank": settings.blank} if key == "infill" else {}) | how | of_length
    options = {"constraint": constraint, **options}
    return DrawPlan(settings.num_samples, labels, key, sheet, options, record)


def _constraint(
    pipeline: Pipeline, settings: SampleConfig, key: str, tokens: Tensor, given: Tensor
) -> tuple[Constraint, dict[str, Any]]:
    """Return what keeps the given tokens of a text, both [L], and what else decides the samples, for the record.

    In states of tokens they stay as they are. Codes that get noise get it afresh at each step, as in inpainting.
    """
    with torch.no_grad():
        codes = pipeline.codec.encode(tokens[None].to(next(pipeline.network.parameters()).device))[0].cpu()
    if not codes.is_floating_point():
        for name in ("jump_length", "resamplings"):
            if getattr(settings.inpaint, name) is not None:
                raise LabError(f"inpaint.{name}: the run's states are tokens, of which given ones stay without it")
        return checked_call(lambda: GivenTokens(codes, given, getattr(pipeline.process, "mask", None)), key), {}
    unknown = ~given.reshape(-1, *(1,) * (codes.ndim - 1)).expand_as(codes)
    constraint = _repaint(pipeline, settings, key, codes, unknown)
    return constraint, {"jump_length": constraint.jump_length, "resamplings": constraint.resamplings}


def _repaint(pipeline: Pipeline, settings: SampleConfig, key: str, known: Tensor, unknown: Tensor) -> RePaint:
    typed = settings.inpaint
    jump_length = typed.jump_length or max(min(_JUMP_LENGTH, len(pipeline.sampler.steps) - 1), 1)
    resamplings = typed.resamplings or _RESAMPLINGS

    process = pipeline.process
    if pipeline.codec.spread:
        assert isinstance(process, Gaussian)
        process = Gaussian(NoisyData(process.schedule, pipeline.codec.spread))

    def constrained() -> RePaint:
        constraint = RePaint(process, known, unknown, jump_length, resamplings)
        constraint.walk(pipeline.sampler)  # refuses numbers that do not go with the sampler's steps
        return constraint

    return checked_call(constrained, key)
