"""Many differential equations, each with steps of its own, whose slopes are evaluated together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from diffusion_lab.errors import LabError


class _Stopped(Exception):
    """The equations are no longer to be solved."""


@dataclass(frozen=True)
class _Asks:
    """The question of a thread: the slope [n] at a time and a state [n]."""

    time: float
    state: np.ndarray


@dataclass(frozen=True)
class _Ended:
    """How a thread ended: with a last state [n], or with an error."""

    state: np.ndarray | None
    evaluations: int
    error: BaseException | None


def solve_each(
    slopes: Callable[[list[int], np.ndarray, np.ndarray], np.ndarray],
    starts: Sequence[np.ndarray] | np.ndarray,
    span: tuple[float, float],
    rtol: float,
    atol: float,
    together: int,
    on_end: Callable[[], object] = lambda: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve N equations dy/dt = f(t, y) by scipy's RK45 (Dormand & Prince 1980), each with steps of its own.

    One solver over a batch would take the same steps for all, and the result of each would depend on the others.
    Here each equation has a thread that runs its solver and waits whenever it needs a slope; the slopes that all
    threads wait for are evaluated at once, by the thread that called. Which ones come together does not depend on the
    speed of threads.

    Args:
        slopes: (numbers of the equations [B], times [B], states [B, n]) → slopes [B, n], all float64.
        starts: [N, n] float64.
        span: the first time and the last.
        rtol, atol: the local error, as a root mean square over n, stays below atol + rtol · |y|.
        together: how many equations are solved at a time.
        on_end: is called whenever one is solved.

    Returns:
        The last states [N, n] float64, and how many slopes each equation needed [N] int64.

    Raises:
        LabError: if a step size falls below what floating-point numbers tell apart.
    """
    ends = np.empty_like(np.asarray(starts))
    evaluations = np.zeros(len(starts), dtype=np.int64)
    mailbox: SimpleQueue[tuple[int, _Asks | _Ended]] = SimpleQueue()
    replies: dict[int, SimpleQueue[np.ndarray | None]] = {}
    waiting, asked = deque(range(len(starts))), dict[int, _Asks]()
    threads: dict[int, Thread] = {}

    def start_next() -> None:
        number = waiting.popleft()
        replies[number] = SimpleQueue()
        arguments = (number, starts[number], span, rtol, atol, mailbox, replies[number])
        threads[number] = Thread(target=_solve, args=arguments, daemon=True)
        threads[number].start()

    try:
        while waiting or replies:
            while waiting and len(replies) < together:
                start_next()
            while len(asked) < len(replies):
                number, message = mailbox.get()
                if isinstance(message, _Asks):
                    asked[number] = message
                    continue
                del replies[number]
                threads.pop(number).join()
                if message.state is None:
                    raise message.error or AssertionError
                ends[number], evaluations[number] = message.state, message.evaluations
                on_end()
                if waiting:
                    start_next()
            if asked:
                numbers = sorted(asked)
                times = np.array([asked[number].time for number in numbers])
                found = slopes(numbers, times, np.stack([asked[number].state for number in numbers]))
                for number, slope in zip(numbers, found, strict=True):
                    replies[number].put(slope)
                asked.clear()
    finally:
        for reply in replies.values():
            reply.put(None)
        for thread in threads.values():
            thread.join()
    return ends, evaluations


def _solve(
    number: int,
    start: np.ndarray,
    span: tuple[float, float],
    rtol: float,
    atol: float,
    mailbox: SimpleQueue[Any],
    reply: SimpleQueue[np.ndarray | None],
) -> None:
    """Solve one equation, as a thread."""
    from scipy.integrate import RK45

    def slope(time: float, state: np.ndarray) -> np.ndarray:
        mailbox.put((number, _Asks(time, state)))
        found = reply.get()
        if found is None:
            raise _Stopped
        return found

    try:
        solver = RK45(slope, span[0], start, span[1], rtol=rtol, atol=atol)
        while solver.status == "running":
            problem = solver.step()
        if solver.status == "failed":
            raise LabError(f"the probability-flow ODE cannot be solved: {problem} Take larger tolerances")
        mailbox.put((number, _Ended(solver.y, solver.nfev, None)))
    except BaseException as error:
        mailbox.put((number, _Ended(None, 0, error)))
