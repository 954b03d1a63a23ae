"""Measure the speed of training and sampling beside other implementations, as a table and a JSON file.

    python scripts/benchmark.py
    python scripts/benchmark.py sampling --batch-sizes 64 256 --rounds 7 --no-compile
    python scripts/benchmark.py exactness --batch-sizes 128
    python scripts/benchmark.py networks --batch-sizes 32 --networks unet
    python scripts/benchmark.py text
    python scripts/benchmark.py arithmetic

(a) is the tutorial's plain loop, (b) this project, (c) the loop of accelerate and diffusers, where both are
installed. `exactness` measures the cost of exact resuming: (a) is then this project, but draws its random numbers in
sequence and does not record the loss of each step. `networks` compares ADM's U-Net and DiT, in one plain loop, with the
same architecture of diffusers, which is then (a): eager with eager, compiled with compiled. `text` does so with the
transformer of text and `torch.nn.TransformerEncoder`, where images are sequences of 256 characters. It also says
what a step consists of, and what recording costs. `arithmetic` measures, for each sampler, which share of a step is not
the network.

Each contender is a separate process, and they take turns of a few steps; ratios are taken within each round.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

CAPTION = """\
x (a): the time of the first (a) of the table divided by that of the row, in the same round; median, and min-max over
the rounds.
share: the rate at which the row does the operations of (a)'s network (forward, and backward in training), as a share of
the machine's highest rate in the row's precision. Every row counts these operations, even if it needs fewer for the
same result.
compile s: seconds of the first step, where it compiles; they are included in no other column.
Not measured: validation, checkpoints and samples during training; the time until the first step."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print an error in one line, without the usage, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and save the JSON file."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.batch_sizes = options.batch_sizes or ([32] if options.what == "text" else [64, 128, 256, 512])
    if min(options.batch_sizes) < 1:
        parser.error(f"--batch-sizes must be at least 1, got {min(options.batch_sizes)}")
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    if not 0 < options.seconds < 3600:  # NaN fails too
        parser.error(f"--seconds must be above 0 and below 3600, got {options.seconds:g}")
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads must be at least 1, got {options.threads}")
    if options.out.suffix.lower() != ".json":
        parser.error(f"--out must name a .json file, got {str(options.out)!r}")
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.touch()
    except OSError as error:
        parser.error(f"cannot write {str(options.out)!r}: {error}")

    # Imported late, so that --help and the errors above appear at once.
    from diffusion_lab.errors import LabError
    from diffusion_lab.runs.load import torch_device

    try:
        device = torch_device(options.device)
    except LabError as error:
        parser.error(str(error))
    if device.type not in ("cpu", "cuda"):
        parser.error(f"--device must be auto, cpu or cuda, got {options.device}")
    measure(options, device)
    print("" if options.what == "arithmetic" else f"{CAPTION}\n")
    print(f"JSON: {options.out}")


def measure(options: argparse.Namespace, device: Any) -> None:
    """Take all measurements; after each batch size, print its table and save all results so far."""
    import platform

    import torch

    from benchmarks import arithmetic, ceilings, lab, library, plain, rounds, tables
    from diffusion_lab.machine.library_warnings import silence_library_warnings

    silence_library_warnings()
    torch.set_float32_matmul_precision("high")
    threads = options.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    _show_progress("the machine's highest rates")
    rates = ceilings.ceilings(device, options.seconds)
    data = plain.Images(str(lab.composed(()).paths.data_dir))
    found: dict[str, Any] = {
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
            "threads": threads,
            "torch": torch.__version__,
            "cuda": torch.version.cuda if device.type == "cuda" else None,
        },
        "load_average": [os.getloadavg()[0]],
        "ceilings": rates,
        "data": data.name,
        "rows": [],
    }
    print(f"{threads} threads on {device.type}, torch {torch.__version__}; images of {data.name}")
    if not library.INSTALLED:
        print("(c) is left out: it needs accelerate and diffusers (pip install accelerate diffusers)")
    if options.what == "arithmetic":
        found["rows"] = arithmetic.shares(device, options.rounds, data.overrides, _show_progress)
        print("\n" + arithmetic.table(found["rows"]), flush=True)
    for title, what, flops, contenders in tables.tables(options, device, data):
        _show_progress(f"{title}: the contenders")
        rounds.compete(contenders, options.rounds, options.seconds, device, threads, _show_progress)
        # Other programs may use the machine: its highest rates are measured again after each table.
        ceilings.raise_to(rates, ceilings.ceilings(device, options.seconds / 4))
        rows = rounds.rows(contenders, flops, ceilings.limits(rates))
        found["rows"] += [{**what, **row} for row in rows]
        found["load_average"].append(os.getloadavg()[0])
        print("\n" + rounds.table(title, rows), flush=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("\nHighest measured rates of the machine")
    for name, unit, scale in (("matmul", "TFLOP/s", 1e12), ("convolution", "TFLOP/s", 1e12), ("copy", "GB/s", 1e9)):
        print(f"{name:<12}" + "".join(f"  {p} {rate / scale:8.3f} {unit}" for p, rate in rates[name].items()))
    load = " to ".join(f"{value:.1f}" for value in found["load_average"])
    print(f"\nLoad average of the machine, from table to table: {load} (this benchmark adds about {threads}).")


def _parser() -> _Parser:
    parser = _Parser(description="Measure training and sampling beside a plain loop and other libraries.")
    add = parser.add_argument
    choices = ("training", "sampling", "both", "exactness", "networks", "text", "arithmetic")
    add("what", nargs="?", choices=choices, default="both", help="default: both training and sampling")
    add("--batch-sizes", type=int, nargs="+", default=None, help="images per step (default: 64 to 512; of text 32)")
    add("--networks", nargs="+", choices=("unet", "dit"), default=["unet", "dit"], help="of networks (default: both)")
    add("--rounds", type=int, default=5, help="number of turns of each contender (default: 5)")
    add("--seconds", type=float, default=2.0, help="approximate length of each turn (default: 2)")
    add("--threads", type=int, default=None, help="threads of torch (default: torch's own choice)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add("--no-compile", dest="compile", action="store_false", help="leave out the compiled rows")
    add("--out", type=Path, default=Path("outputs/benchmark.json"), help="the JSON file (default: %(default)s)")
    return parser


def _show_progress(text: str) -> None:
    """Show progress on a terminal, in one line that the next call replaces."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
