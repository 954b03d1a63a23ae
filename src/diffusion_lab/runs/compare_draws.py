"""The command behind `scripts/compare_draws.py`: the same samples of several draws, side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.config.reader_schema import CompareDrawsConfig
from diffusion_lab.errors import LabError, printable
from diffusion_lab.figures import Sheet, save_figures
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.load import load_run
from diffusion_lab.runs.recorded_draws import RecordedDraw, find_draws


def compare_draws(paths: Sequence[str], settings: CompareDrawsConfig) -> Path:
    """Draw the figure, and return its file.

    Raises:
        LabError: naming a path or a setting that does not fit.
    """
    if not paths:
        raise LabError("name the run folder whose draws are to be compared, or the folders of the draws")
    draws = find_draws(paths)
    for run in {draw.run for draw in draws}:
        RunFolder.open(run)  # refuses a folder that is no run's, or out of which something leads
    parts = load_run(draws[0].run, device="cpu").parts
    for draw in draws:
        _check_items(draw, parts.data.example())
    draws, title, names = named_draws(draws)
    sheet = draws_sheet(draws, title, names, settings.per_row)
    target = draws[0].run / "samples" / "draws" if settings.out is None else Path(settings.out).expanduser()
    path = save_figures(parts.pipeline.codec.show(sheet), target.parent, target.name)[0]
    for draw, name in zip(draws, names, strict=True):
        print(printable(f"{' '.join(name.split()) or title}: {shown(draw.folder.resolve())}"))
    print(printable(f"Written: {shown(path.resolve())}"))
    return path


def named_draws(draws: Sequence[RecordedDraw]) -> tuple[list[RecordedDraw], str, list[str]]:
    """Return the draws by rising cost, a title that names what they differ in, and a name for each.

    A draw's name is the values of the settings that differ, and how often the network was evaluated for each sample,
    which stands for the number of steps.
    """
    facts = [dict(draw.facts, run=draw.run.resolve().name) for draw in draws]
    costs = {draw.evaluations for draw in draws}
    keys = dict.fromkeys(key for known in facts for key in known)
    varied = [key for key in keys if _varies(key, facts)]
    if len(costs) > 1:
        varied = [key for key in varied if not key.endswith(".num_steps")]

    def order(place: int) -> tuple[Any, ...]:
        values = [facts[place].get(key) for key in varied]
        return (draws[place].evaluations, *((isinstance(v, str), v if _is_number(v) else 0, _text(v)) for v in values))

    places = sorted(range(len(draws)), key=order)
    names = []
    for place in places:
        words = [_text(facts[place][key]) for key in varied if key in facts[place]]
        if len(costs) > 1:
            words.append(f"{draws[place].evaluations:g}")
        names.append("\n".join(words))
    by = " and ".join([*varied, *(["number of network evaluations"] if len(costs) > 1 else [])])
    return [draws[place] for place in places], f"Samples by {by}" if by else "Samples", names


def _varies(key: str, facts: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a key tells draws apart: an option's key such as ``sampler.eta``, among those of that option."""
    group = key.partition(".")[0]
    values: dict[Any, set[str]] = {}
    for known in facts:
        option = known.get(group) if "." in key else None
        if key in known:
            values.setdefault(option, set()).add(_text(known[key]))
    return any(len(of_option) > 1 for of_option in values.values())


def draws_sheet(draws: Sequence[RecordedDraw], title: str, names: Sequence[str], per_row: int) -> Sheet:
    """Lay the draws out: one row for each; or, where all have labels, one row per class, and columns for each draw.

    Raises:
        LabError: if the draws have no class in common.
    """
    if any(draw.labels is None for draw in draws):
        rows = [draw.samples(slice(per_row)) for draw in draws]
        if len({row.shape[1:] for row in rows}) > 1:
            raise LabError("the draws hold data of different shapes: compare those of one run and length")
        return Sheet(title, rows, names=names if len(draws) > 1 else (), size=0.75)
    labels = [draw.labels or [] for draw in draws]
    classes = sorted(set.intersection(*map(set, labels)))
    if not classes:
        raise LabError("the draws have no class in common")
    fewest = min(of.count(one) for of in labels for one in classes)
    each = max(1, min(fewest, per_row // len(draws)))
    rows = []
    for one in classes:
        row = []
        for draw, of in zip(draws, labels, strict=True):
            row.append(draw.samples([i for i, label in enumerate(of) if label == one][:each]))
        if len({part.shape[1:] for part in row}) > 1:
            raise LabError("the draws hold data of different shapes: compare those of one run and length")
        rows.append(torch.cat(row))
    columns = ["" for _ in range(each * len(draws))]
    columns[(each - 1) // 2 :: each] = names
    names_of_rows = [str(one) for one in classes]
    return Sheet(title, rows, columns if len(draws) > 1 else (), names_of_rows, size=0.75, group=each)


def _check_items(draw: RecordedDraw, example: Tensor) -> None:
    """Raise LabError unless a draw has samples like `example` [1, *D], an item of the run's data, or of its length."""
    first, length = draw.samples(slice(1)), draw.facts.get("length")
    expected = list(example.shape) if length is None else [1, length]
    if list(first.shape) != expected or first.dtype != example.dtype:
        raise LabError(
            f"{draw.folder / 'samples.npy'} is damaged, or of another run: it begins with {list(first.shape)} of "
            f"{first.dtype}, and it should with {expected} of {example.dtype}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """Return a recorded setting as a figure can show it: short, and without what matplotlib takes for a formula."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w .,:+\-\[\]()]", "?", text)[:40]
