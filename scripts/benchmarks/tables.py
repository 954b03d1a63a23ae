"""The tables of `scripts/benchmark.py`, each with its contenders."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks import architectures, ceilings, lab, library, plain, text
from benchmarks.plain import Images
from benchmarks.rounds import Contender
from diffusion_lab.config.tree import read_option

#: The precisions, by their names in the table and in `trainer.precision`.
_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}

#: Title, what identifies the rows in the JSON file, operations of (a)'s network per image, and contenders.
_Table = tuple[str, dict[str, Any], float, list[Contender]]


def tables(options: argparse.Namespace, device: Any, data: Images) -> Iterator[_Table]:
    """Yield the tables to measure, each of which is made when it is its turn."""
    if options.what == "networks":
        yield from _network_tables(options, device)
    if options.what == "text":
        yield from _text_tables(options, device, data)
    makers = {"training": _training, "sampling": _sampling, "exactness": _exactness}
    for what in ("training", "sampling") if options.what == "both" else (options.what,):
        for batch_size in options.batch_sizes if what in makers else ():
            flops = ceilings.flops_per_image(
                plain.PlainUNet(1, 1, plain.SIDE), (1, plain.SIDE, plain.SIDE), what != "sampling"
            )
            contenders = makers[what](batch_size, device, options.compile, data)
            yield f"{what}, batch {batch_size}", {"what": what}, flops, contenders


def _network_tables(options: argparse.Namespace, device: Any) -> Iterator[_Table]:
    """Yield a table for each network, kind of step, precision and batch size, eager and compiled."""
    kinds = [
        (training, precision, compiled)
        for training in (True, False)
        for precision in _PRECISIONS
        for compiled in ((False, True) if options.compile else (False,))
    ]
    for name in options.networks:
        sizes = architectures.sizes(name)
        counted = "; ".join(f"{what} {a:,.0f} and {b:,.0f}" for what, (a, b) in sizes.items())
        print(f"\n{name}, diffusers and this project: {counted}; it spares {architectures.spared(name):.1%} of forward")
        for batch_size, (training, precision, compiled) in itertools.product(options.batch_sizes, kinds):
            contenders = [
                Contender(
                    ("(b) Diffusion Lab" if own else "(a) diffusers") + ", compiled" * compiled,
                    precision,
                    batch_size,
                    partial(
                        architectures.run, name, own, training, precision == "bfloat16", compiled, batch_size, device
                    ),
                    compiled=compiled,
                    keeps_memory=own,
                )
                for own in (False, True)
            ]
            what = {"what": "networks", "network": name, "training": training}
            flops = sizes["training" if training else "forward"][0]
            yield f"{name}, {'training' if training else 'sampling'}, batch {batch_size}", what, flops, contenders


def _text_tables(options: argparse.Namespace, device: Any, data: Images) -> Iterator[_Table]:
    """Yield a table for each precision, eager and compiled, and one of what recording costs."""
    sizes = text.sizes()
    counted = "; ".join(f"{what} {a:,.0f} and {b:,.0f}" for what, (a, b) in sizes.items())
    print(f"\ntorch.nn.TransformerEncoder and this project: {counted}")
    for steps in (8, 1000):
        calls, states = text.calls_in_sampling(steps)
        print(f"a draw of {steps} steps: {calls:g} network evaluations, of {states:g} distinct states per sample")
    for batch_size in options.batch_sizes:
        for precision in _PRECISIONS:
            parts = text.shares(precision == "bfloat16", batch_size, device)
            print(f"a step in {precision}: " + ", ".join(f"{part} {share:.1%}" for part, share in parts.items()))
        ends = text.ends(batch_size, device)
        print("of a step in float32: " + ", ".join(f"{part} {share:.2%}" for part, share in ends.items()))
        print(f"of an ancestral draw: all but the network {text.draws_in_sampling(batch_size, device):.1%}")
        for precision, compiled in itertools.product(_PRECISIONS, (False, True) if options.compile else (False,)):
            contenders = [
                Contender(
                    ("(b) Diffusion Lab" if own else "(a) torch's encoder") + ", compiled" * compiled,
                    precision,
                    batch_size,
                    partial(text.run, own, precision == "bfloat16", compiled, batch_size, device),
                    compiled=compiled,
                    keeps_memory=own,
                )
                for own in (False, True)
            ]
            yield f"text, training, batch {batch_size}", {"what": "text"}, sizes["training"][0], contenders
        overrides = [f"paths.data_dir={data.data_dir}", *text.RECIPE, f"data.batch_size={batch_size}"]
        without = ["logger=none", *(f"~callbacks.{name}" for name in read_option("callbacks", "default"))]
        contenders = [
            Contender(name, "float32", batch_size, partial(lab.train, overrides + more, False), keeps_memory=True)
            for name, more in (("(a) without callbacks and loggers", without), ("(b) with them", []))
        ]
        yield f"text, recording, batch {batch_size}", {"what": "recording"}, sizes["training"][1], contenders


def _training(batch_size: int, device: Any, compiled: bool, data: Images) -> list[Contender]:
    contenders = []
    for precision, name in _PRECISIONS.items():
        rounded = precision == "bfloat16"
        work = partial(plain.train, data, batch_size, device, rounded)
        contenders.append(Contender("(a) plain loop", precision, batch_size, work))
        overrides = _overrides(batch_size, device, name, data)
        contenders += _lab_contenders(precision, batch_size, compiled, partial(lab.train, overrides))
        if library.INSTALLED:
            work = partial(library.train, data, batch_size, device, rounded)
            contenders.append(Contender("(c) accelerate + diffusers", precision, batch_size, work))
    return contenders


def _exactness(batch_size: int, device: Any, compiled: bool, data: Images) -> list[Contender]:
    overrides = _overrides(batch_size, device, "32-true", data)
    inexact = Contender(
        "(a) without exactness",
        "float32",
        batch_size,
        partial(lab.train, overrides, False, exact=False),
        keeps_memory=True,
    )
    return [inexact, *_lab_contenders("float32", batch_size, False, partial(lab.train, overrides))]


def _overrides(batch_size: int, device: Any, precision: str, data: Images) -> list[str]:
    return [
        *data.overrides,
        f"paths.data_dir={data.data_dir}",
        f"data.batch_size={batch_size}",
        f"trainer.precision={precision}",
        f"trainer.accelerator={'gpu' if device.type == 'cuda' else 'cpu'}",
        "trainer.enable_progress_bar=false",
    ]


def _sampling(batch_size: int, device: Any, compiled: bool, data: Images) -> list[Contender]:
    contenders = [Contender("(a) plain loop", "float32", batch_size, partial(plain.sample, batch_size, device))]
    for precision, name in _PRECISIONS.items():
        work = partial(lab.sample, data.overrides, batch_size, device, name)
        contenders += _lab_contenders(precision, batch_size, compiled, work)
    if library.INSTALLED:
        work = partial(library.sample, batch_size, device)
        contenders.append(Contender("(c) accelerate + diffusers", "float32", batch_size, work))
    return contenders


def _lab_contenders(precision: str, batch_size: int, compiled: bool, work: Callable[..., Any]) -> list[Contender]:
    eager = Contender("(b) Diffusion Lab", precision, batch_size, partial(work, False), keeps_memory=True)
    fast = Contender(
        "(b) Diffusion Lab, compiled", precision, batch_size, partial(work, True), compiled=True, keeps_memory=True
    )
    return [eager, fast] if compiled else [eager]
