"""Measure how far what samplers of tokens draw is from the data, with an exact denoiser: a table and a figure.

    python scripts/token_samplers.py --out outputs/token_samplers.png

The data is a hidden Markov chain of four tokens, so short that all states can be counted: what a sampler draws is known
exactly, by going through all of them, and drawn with its own code as well. Samplers that do not draw their steps from
the joint distribution of all positions make an error that falls with the number of steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

#: Marks are drawn up to this number of steps: with more, little but the error of sampling is left.
_MOST_DRAWN = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print an error in one line, without the usage, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: list[str] | None = None) -> None:
    """Save the figure, then print the table and the path of the figure."""
    parser = _Parser(description="Distance of what samplers of tokens draw from the data, by number of steps.")
    add = parser.add_argument
    add("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256], help="default: 1, 2, 4 to 256")
    add("--samples", type=int, default=20_000, help="number of samples of each mark (default: 20000)")
    add("--out", type=Path, default=Path("outputs/token_samplers.png"), help="the figure (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not all(1 <= number <= 1000 for number in options.steps):
        parser.error(f"--steps must lie between 1 and 1000, got {' '.join(map(str, options.steps))}")
    if not 100 <= options.samples <= 10**6:
        parser.error(f"--samples must lie between 100 and 1000000, got {options.samples}")
    if options.out.suffix.lower() != ".png":
        parser.error(f"--out must name a .png file, got {str(options.out)!r}")
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.touch()
    except OSError as error:
        parser.error(f"cannot write {str(options.out)!r}: {error}")

    # Imported late, so that --help and the errors above appear at once.
    from diffusion_lab.figures.quality_figures import SamplerDistances, distances_over_steps
    from exact_text import sampler_distances as measure
    from exact_text.hidden_markov import example

    chain = example()
    steps = sorted(set(options.steps))
    found, rows = [], {}
    samplers = sorted({case.sampler for case in measure.cases()})
    for case in measure.cases():
        numbers = steps if measure.takes_steps(case) else [chain.length]
        exact = {n: measure.exact_distance(case, chain, n) for n in numbers}
        few = [n for n in numbers[::2] if n <= _MOST_DRAWN]
        drawn = {n: measure.drawn_distance(case, chain, n, options.samples) for n in few or numbers[:1]}
        known = {n: value for n, value in exact.items() if value is not None}
        rows[case] = known or drawn
        panel = f"process={case.process}"
        found.append(SamplerDistances(case.sampler, panel, known, drawn, samplers.index(case.sampler)))
    expected = measure.sampling_error(chain, options.samples)
    distances_over_steps(found, expected, options.samples).savefig(options.out, dpi=110)
    print(measure.table(sorted({*steps, chain.length}), rows))
    print(f"{options.samples:,} draws from the data itself: {expected[0]:.5f} to {expected[1]:.5f}")
    print(f"\nFigure: {options.out}")


if __name__ == "__main__":
    main()
