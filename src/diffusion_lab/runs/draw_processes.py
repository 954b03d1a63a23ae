"""Other processes that draw their share of the samples of an evaluation: `python -m diffusion_lab.runs.draw_processes`.

Each loads the run, draws its share of the batches to the folder of `StoredDraws`, and ends. On a machine with GPUs,
each takes one of them in turn; on a CPU they share the cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from diffusion_lab.config.cli import exit_on_error
from diffusion_lab.errors import LabError
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.cores_and_gpus import cores
from diffusion_lab.machine.devices import torch_device
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.machine.rank_launcher import end_with_parent
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.runs.load import load_run
from diffusion_lab.runs.stored_draws import StoredDraws


@dataclass(frozen=True)
class DrawOrder:
    """The order to a process to draw samples. It is plain data, which is handed over as JSON.

    Attributes:
        run_dir, checkpoint, weights, device, changes: as for `load_run`.
        batch_size, precision, folder: of the `StoredDraws`.
        weights_hash: of the weights that the first process draws with.
        compile: whether the network is compiled.
        num_samples, seeds: as for `StoredDraws.draw`.
        share: (i, n): the i-th of n parts.
    """

    run_dir: str
    checkpoint: str
    weights: str
    device: str
    changes: Mapping[str, Any]
    batch_size: int
    precision: str
    compile: bool
    folder: str = ""
    weights_hash: str = ""
    num_samples: int = 0
    seeds: tuple[int, ...] = ()
    share: tuple[int, int] = (0, 1)


class DrawProcesses:
    """Starts the processes of a draw, and ends those that are left when the block ends.

    Args:
        count: how many processes draw, this one included.
        order: what they have in common.
    """

    def __init__(self, count: int, order: DrawOrder) -> None:
        self.count = count
        self.order = order
        self._running: list[_Process] = []
        self._threads = torch.get_num_threads()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for process in self._running:
            process.end()
        torch.set_num_threads(self._threads)

    def start(self, num_samples: int, seeds: Sequence[int]) -> tuple[tuple[int, int], Callable[[], None]]:
        """Start the other processes; return this process's share, and the function that waits for theirs.

        That raises LabError, with the last line of a process that failed.
        """
        threads = max(1, cores() // self.count)
        torch.set_num_threads(threads)
        common = replace(self.order, num_samples=num_samples, seeds=tuple(seeds))
        for part in range(1, self.count):
            order = replace(common, share=(part, self.count), device=_device(common.device, part))
            self._running.append(_Process(order, threads))
        return (0, self.count), self._wait

    def _wait(self) -> None:
        for number, process in enumerate(self._running, start=2):
            if (said := process.failure()) is not None:
                raise LabError(f"process {number} of {self.count} failed: {said}")
        self._running = []
        torch.set_num_threads(self._threads)  # what is computed of the samples is computed by this process alone


class _Process:
    """A process that draws what an order says, with so many threads."""

    def __init__(self, order: DrawOrder, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "diffusion_lab.runs.draw_processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self._said = ""
        # Its messages are read while it works: a full pipe would stop it.
        self._reader = threading.Thread(target=self._hand_over, args=(json.dumps(asdict(order)),), daemon=True)
        self._reader.start()

    def failure(self) -> str | None:
        """Wait until it has ended; return its last line if it failed."""
        self._reader.join()
        if status := self._process.returncode:
            lines = self._said.strip().splitlines() or [f"it ended with status {status}"]
            return lines[-1].removeprefix("Error: ")
        return None

    def end(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._reader.join()

    def _hand_over(self, order: str) -> None:
        _, self._said = self._process.communicate(order)


def _device(name: str, part: int) -> str:
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{part % torch.cuda.device_count()}"
    return name


def _draw() -> None:
    end_with_parent()
    silence_library_warnings()
    keep_freed_memory()
    order = DrawOrder(**json.load(sys.stdin))
    run = load_run(order.run_dir, order.checkpoint, order.device, order.changes, order.weights)
    if weights_hash(run.parts.module.state_dict()) != order.weights_hash:
        raise LabError(f"checkpoint={order.checkpoint} has other weights than a moment ago: is the run being trained?")
    if order.compile:
        compile_network(run.parts.network, torch_device(order.device))
    part, parts = order.share
    stored = StoredDraws(Path(order.folder), order.batch_size, order.precision)
    stored.draw(run.parts.pipeline, order.num_samples, list(order.seeds), share=(part, parts))


if __name__ == "__main__":
    exit_on_error(_draw)
