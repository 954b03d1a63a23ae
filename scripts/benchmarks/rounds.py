"""Measurement of several loops that take turns on the same machine.

Each contender is a loop in a process of its own, with its own threads and memory, as in real use. It pauses after a
number of steps until its next turn, so that it keeps its state between turns (an epoch or a draw that is under way),
and whatever slows the machine down for a while affects all contenders of a round.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Any

import torch

from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.library_warnings import silence_library_warnings

#: Number of steps at the start of each turn that are not timed: they use up the batches that loaders prepared before.
SETTLE = 4


class NoMoreTurns(Exception):
    """Raised inside a contender's loop when there are no more turns."""


@dataclass
class Contender:
    """One row of the table.

    Attributes:
        name: its name in the table; that of the one with which the others are compared begins with ``(a)``.
        precision: ``float32`` or ``bfloat16``.
        batch_size: images per step.
        work: the loop, a function that never returns and calls its argument, `tick`, after each step. It is pickled
            and sent to another process.
        compiled: whether its first step compiles.
        keeps_memory: whether its process keeps freed memory, as this project's scripts do.
        first: duration of the first step, in seconds.
        seconds: seconds per step, for each round.
    """

    name: str
    precision: str
    batch_size: int
    work: Callable[[Callable[[], None]], None]
    compiled: bool = False
    keeps_memory: bool = False
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)


class Turns:
    """The process of a contender, which runs a number of steps at a time on a device."""

    def __init__(self, contender: Contender, device: torch.device, threads: int) -> None:
        # A forked process could use neither OpenMP nor a GPU that its parent has used.
        context = multiprocessing.get_context("spawn")
        self.contender = contender
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(there, contender.work, device, threads, contender.keeps_memory)
        )
        self._process.start()
        there.close()

    def take(self, steps: int) -> float:
        """Run `steps` steps and return their duration in seconds."""
        try:
            self._here.send(steps)
            answer = self._here.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"{self.contender.name}: its process has ended") from error
        if isinstance(answer, str):
            raise RuntimeError(f"{self.contender.name}: {answer}")
        return answer

    def end(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(there: Connection, work: Any, device: torch.device, threads: int, keeps_memory: bool) -> None:
    silence_library_warnings()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    if keeps_memory:
        keep_freed_memory()
    try:
        steps, start = there.recv(), time.perf_counter()

        def tick() -> None:
            nonlocal steps, start
            steps -= 1
            if steps == 0:
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                there.send(time.perf_counter() - start)
                try:
                    steps, start = there.recv(), time.perf_counter()
                except EOFError:
                    raise NoMoreTurns from None

        work(tick)
    except (NoMoreTurns, KeyboardInterrupt):
        pass
    except Exception as error:
        there.send(f"{type(error).__name__}: {error}")


def compete(
    contenders: Sequence[Contender],
    rounds: int,
    seconds: float,
    device: torch.device,
    threads: int,
    show_progress: Callable[[str], None],
) -> None:
    """Let each contender take one turn per round, and store the times in `contenders`.

    Args:
        contenders: the loops to measure, all with the same batch size.
        rounds: number of turns of each contender.
        seconds: approximate duration of a turn.
        device: the device whose work a turn waits for at its end.
        threads: number of threads of torch in each contender.
        show_progress: called with a description of each part of the work.
    """
    turns: list[Turns] = []
    try:
        steps = []
        for contender in contenders:
            show_progress(f"batch {contender.batch_size}: warming up {contender.name}, {contender.precision}")
            turns.append(turn := Turns(contender, device, threads))
            contender.first = turn.take(1)
            turn.take(SETTLE)
            steps.append(max(1, round(seconds / (turn.take(2) / 2))))
        for number in range(rounds):
            show_progress(f"batch {contenders[0].batch_size}: round {number + 1} of {rounds}")
            # Each round begins with another contender, so that none has an advantage from its position.
            for place in range(len(turns)):
                index = (place + number) % len(turns)
                turns[index].take(SETTLE)
                contenders[index].seconds.append(turns[index].take(steps[index]) / steps[index])
    finally:
        for turn in turns:
            turn.end()


def rows(contenders: Sequence[Contender], flops: float, limits: dict[str, float]) -> list[dict[str, Any]]:
    """Return one row of results for each contender.

    Args:
        contenders: measured contenders of one batch size; they are compared with the first of them whose name begins
            with ``(a)``.
        flops: operations of the plain network, per image and step.
        limits: precision → the highest rate of the machine, in FLOP/s.
    """
    base = next(c for c in contenders if c.name.startswith("(a)"))
    result = []
    for contender in contenders:
        step = median(contender.seconds)
        ratios = [a / b for a, b in zip(base.seconds, contender.seconds, strict=True)]
        rate = contender.batch_size / step
        result.append(
            {
                "name": contender.name,
                "precision": contender.precision,
                "batch_size": contender.batch_size,
                "seconds_per_step": step,
                "quartiles": _quartiles(contender.seconds),
                "images_per_second": rate,
                "ratio": median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "share": rate * flops / limits[contender.precision],
                "compile_seconds": max(0.0, contender.first - step) if contender.compiled else None,
                "rounds": list(contender.seconds),
            }
        )
    return result


def _quartiles(values: Sequence[float]) -> list[float]:
    if len(values) == 1:
        return [values[0]] * 2
    first, _, third = quantiles(values, n=4, method="inclusive")
    return [first, third]


def table(title: str, results: Sequence[dict[str, Any]]) -> str:
    """Format the rows as aligned text."""
    head = ("", "precision", "batch", "ms/step", "quartiles", "images/s", "x (a)", "min-max", "share", "compile s")
    cells = [head]
    for row in results:
        low, high = (1e3 * v for v in row["quartiles"])
        compiling = "" if row["compile_seconds"] is None else f"{row['compile_seconds']:.0f}"
        cells.append(
            (
                row["name"],
                row["precision"],
                str(row["batch_size"]),
                f"{1e3 * row['seconds_per_step']:.1f}",
                f"{low:.1f}-{high:.1f}",
                f"{row['images_per_second']:,.0f}",
                f"{row['ratio']:.2f}",
                f"{row['ratio_range'][0]:.2f}-{row['ratio_range'][1]:.2f}",
                f"{row['share']:.0%}",
                compiling,
            )
        )
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if k < 2 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])
