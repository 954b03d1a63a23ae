"""Add Gaussian noise to the token ids of a sentence, and mask its tokens, as a table and a figure.

    python scripts/text_noise.py --sigma 500 --seed 0 --out outputs/text_noise.png

Masking is the absorbing state of Austin et al. 2021 (D3PM) and of Sahoo et al. 2024 (MDLM).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print an error in one line, without the usage, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: list[str] | None = None) -> None:
    """Save the figure, then print the table and the path of the figure."""
    parser = _Parser(description="Why Gaussian noise fails on token ids, and masking does not.")
    parser.add_argument("--sigma", type=float, default=500.0, help="largest noise on the ids (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise and the masks (default: 0)")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/text_noise.png"), help="the figure (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.sigma <= 1e6:  # NaN fails too
        parser.error(f"--sigma must be above 0 and at most 1e6, got {options.sigma:g}")
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, got {options.seed}")
    if options.out.suffix.lower() != ".png":
        parser.error(f"--out must name a .png file, got {str(options.out)!r}")

    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"cannot write {str(options.out)!r}: {error}")

    # Imported late, so that --help and the errors above appear at once.
    from diffusion_lab.figures import text_noise

    ids = [text_noise.SIX_WORDS[word] for word in text_noise.SENTENCE]
    sigmas = [fraction * options.sigma for fraction in (0.0, 0.1, 0.4, 1.0)]
    gaussian = text_noise.gaussian_rows(ids, sigmas, options.seed)
    masked = text_noise.mask_rows(text_noise.SENTENCE, text_noise.RATIOS, options.seed)
    try:
        words = text_noise.full_vocabulary()
    except ValueError as error:
        parser.error(str(error))
    try:
        text_noise.figure(gaussian, masked, words).savefig(options.out)
    except OSError as error:
        parser.error(f"cannot write {str(options.out)!r}: {error}")
    print(text_noise.table(gaussian, masked, words))
    print(f"\nFigure: {options.out}")


if __name__ == "__main__":
    main()
