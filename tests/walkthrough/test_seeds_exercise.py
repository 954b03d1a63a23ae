"""Each wrong number of seeds is answered by what speaks against it."""

import numpy as np
import pytest
import scipy.stats

from diffusion_lab.walkthrough import check_seeds


def said(capsys, seeds, difference=0.02, spread=0.02):
    right = check_seeds(seeds, difference, spread)
    out, err = capsys.readouterr()
    assert not err
    (line,) = out.splitlines()
    assert right == line.startswith("Right: ")
    return line


def test_the_smallest_number_is_that_of_a_simulation(capsys):
    pairs = np.random.default_rng(1).normal(1, 1, (40_000, 12))
    found = [float((scipy.stats.ttest_1samp(pairs[:, :n], 0, axis=1).pvalue < 0.05).mean()) for n in range(2, 13)]
    smallest = next(n for n, share in enumerate(found, 2) if share >= 0.8)
    line = said(capsys, smallest)
    assert line.startswith(f"Right: {smallest} seeds find it in 8")


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (..., "Not written yet: seeds must be a whole number"),
        (None, "Not written yet"),
        (9.5, "must be a whole number, got 9.5"),
        (1, "a single pair of runs has no spread"),
        (3, "with 3 seeds the difference is found in 18% of all cases, and not 80%"),
        (8, "8 would do if the spread were known"),
        (20, "fewer are enough: 19 seeds find it in 9"),
    ],
)
def test_another_number_is_refused_with_the_reason(capsys, seeds, expected):
    line = said(capsys, seeds)
    assert line.startswith("Not ")
    assert expected in line
