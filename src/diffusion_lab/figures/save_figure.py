"""Pictures and texts to files and loggers, and animations."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from diffusion_lab.figures.cell_lines import visible
from diffusion_lab.figures.image_grid import to_uint8
from diffusion_lab.figures.token_strip_page import Page
from diffusion_lab.machine.atomic_write import write_bytes, write_text

#: What people look at.
Shown = Figure | Page | str


def save_figures(
    shown: Shown | Sequence[Shown],
    folder: Path,
    name: str,
    loggers: Iterable[Any] = (),
    step: int = 0,
    tag: str | None = None,
) -> list[Path]:
    """Save one or several forms of what is shown, each by `save_figure`, and return their files."""
    forms = [shown] if isinstance(shown, Figure | Page | str) else shown
    loggers = list(loggers)
    return [save_figure(form, folder, name, loggers, step, tag) for form in forms]


def save_figure(
    shown: Shown,
    folder: Path,
    name: str,
    loggers: Iterable[Any] = (),
    step: int = 0,
    tag: str | None = None,
) -> Path:
    """Save a figure as ``folder/name.png``, a text as ``….txt`` or a page as ``….html``; show it as `tag` (or `name`).

    Of the `loggers`, TensorBoard's, W&B's and MLflow's can show figures; they are known by their methods, so that
    none of them need be installed. Texts are shown by TensorBoard, pages by none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(shown, str):
        path = folder / f"{name}.txt"
        write_text(path, f"{shown}\n")
        for logger in loggers:
            if hasattr(logger.experiment, "add_text"):
                logger.experiment.add_text(tag or name, as_markdown(shown), step)
        return path
    if isinstance(shown, Page):
        path = folder / f"{name}.html"
        write_text(path, shown.html)
        return path
    path = folder / f"{name}.png"
    picture = io.BytesIO()
    shown.savefig(picture, format="png", dpi=150)
    write_bytes(path, picture.getvalue())
    for logger in loggers:
        if hasattr(logger.experiment, "add_image"):  # TensorBoard; it would draw a figure once more
            with Image.open(path) as drawn:
                logger.experiment.add_image(tag or name, np.asarray(drawn.convert("RGB")), step, dataformats="HWC")
        elif hasattr(logger, "log_image"):  # W&B
            logger.log_image(tag or name, [str(path)], step)
        elif hasattr(logger.experiment, "log_figure") and hasattr(logger, "run_id"):  # MLflow
            logger.experiment.log_figure(logger.run_id, shown, f"figures/{name}.png")
    return path


def as_markdown(text: str) -> str:
    """Return Markdown that shows a text as it is.

    The fence is longer than any in the text. Characters that cannot be seen and tabs are written as signs, and spaces
    that are all of a line as spaces that do not break, since Markdown removes these.
    """
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    lines = ["".join(sign if sign.isprintable() else visible(sign) for sign in line) for line in text.split("\n")]
    lines = [line if line.strip() else line.replace(" ", "\N{NO-BREAK SPACE}") for line in lines]
    return "\n".join([fence, *lines, fence])


def animation(states: list[Tensor], path: Path, columns: int = 8, scale: int = 3, seconds: float = 4.0) -> Path:
    """Write a GIF of grids: each state [N, C, H, W] in [−1, 1] is a frame; the last one stays for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = []
    for state in states:
        pixels = to_uint8(state)
        count, height, width, channels = pixels.shape
        rows = -(-count // columns)
        sheet = pixels.new_zeros(rows * height, min(columns, count) * width, channels)
        for i in range(count):
            top, left = i // columns * height, i % columns * width
            sheet[top : top + height, left : left + width] = pixels[i]
        image = Image.fromarray(sheet.squeeze(-1).numpy())
        frames.append(image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST))
    step = int(1000 * seconds / len(frames))
    durations = [step] * (len(frames) - 1) + [1500]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_bytes(path, moving.getvalue())
    return path
