"""Each wrong reading of a verdict is answered by what speaks against it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from diffusion_lab.reproduction.compare_results import ResultComparison, ResultDifference
from diffusion_lab.reproduction.reproduce import Verdict
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.walkthrough import check_cause


@dataclass(frozen=True)
class Case:
    step: int
    there: float
    differences: dict

    @property
    def verdict(self):
        first = ResultDifference("train/loss_step", self.step, 1.0, self.there)
        comparison = ResultComparison(steps=100, differing_steps=1, first_differences=[first])
        folder = RunFolder(Path("run"))
        return Verdict(folder, folder, comparison, self.differences)


SCHEDULE = Case(14, 1.02, {"config": "lr_schedule.final_fraction: 0.5 here, 0.0 there"})
SEED = Case(1, 1.5, {"config": "seed: 43 here, 42 there", "first weights": "a here, b there"})
NETWORK = Case(1, 1.2, {"config": "network.base_channels: 24 here, 16 there"})
THREADS = Case(4, 1.0000001, {"threads": "2 here, 1 there"})


def said(capsys, cause, case):
    right = check_cause(cause, case.verdict)
    out, err = capsys.readouterr()
    assert not err
    (line,) = out.splitlines()
    assert right == line.startswith("Right: ")
    return line


@pytest.mark.parametrize(
    ("cause", "case", "reason"),
    [
        ("lr_schedule", SCHEDULE, "lr_schedule.final_fraction: 0.5 here, 0.0 there; they first differ at step 14"),
        ("seed", SEED, "seed: 43 here, 42 there; they first differ at step 1 by 3e-01"),
        ("network", NETWORK, "network.base_channels: 24 here"),
        ("threads", THREADS, "2 here, 1 there; they first differ at step 4 by 1e-07 of the value"),
    ],
)
def test_the_cause_is_found_right(capsys, cause, case, reason):
    line = said(capsys, cause, case)
    assert line.startswith("Right: ")
    assert reason in line


@pytest.mark.parametrize(
    ("cause", "case", "expected"),
    [
        (..., SCHEDULE, "Not written yet: cause must be one of seed, network"),
        ("luck", SCHEDULE, "'luck' is none of seed"),
        ("seed", SCHEDULE, "another seed has other weights before the first step, and they first differ at step 14"),
        ("network", THREADS, "another network has other weights"),
        (
            "threads",
            SCHEDULE,
            "rounding begins with the last digits, 1e-7 of a value, and they first differ at step 14",
        ),
        ("threads", Case(9, 1.0000001, SCHEDULE.differences), "as many threads were used in both"),
        ("lr_schedule", SEED, "the loss of step 1 is computed before any step"),
        ("lr_schedule", THREADS, "lr_schedule is the same in both"),
        ("network", SEED, "network is the same in both"),
    ],
)
def test_another_cause_is_refused_with_the_reason(capsys, cause, case, expected):
    line = said(capsys, cause, case)
    assert line.startswith("Not ")
    assert expected in line


def test_two_equal_runs_have_no_cause(capsys):
    folder = RunFolder(Path("run"))
    verdict = Verdict(folder, folder, ResultComparison(steps=100, differing_steps=0, first_differences=[]), {})
    assert check_cause("seed", verdict) is False
    assert capsys.readouterr().out == "Not yet: the two runs are equal in all steps: there is no cause to be found\n"
