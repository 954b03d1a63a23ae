import json
import statistics

import pytest

from diffusion_lab.metrics.class_balance import ClassBalance
from diffusion_lab.metrics.inception_score import InceptionScore
from diffusion_lab.metrics.kernel_distance import KernelDistance
from diffusion_lab.metrics.neighbour_balls import DensityCoverage, PrecisionRecall
from diffusion_lab.metrics.quality import Measures
from diffusion_lab.metrics.quality_result import QualityResult


def measures(fid, kid=0.02, error=0.003, classifier=True, num_samples=1000):
    return Measures(
        num_samples,
        10_000,
        fid,
        KernelDistance(kid, error, 200),
        PrecisionRecall(0.75, 0.5),
        DensityCoverage(1.25, 0.9),
        InceptionScore(9.5, 0.125) if classifier else None,
        ClassBalance(0.0625, 2.25, 1) if classifier else None,
    )


def test_a_result_has_means_spreads_and_floors_for_a_file():
    result = QualityResult(
        [measures(1.0), measures(3.0), measures(2.0)], [measures(0.5), measures(0.25)], "own@ab", "ab" * 32
    )
    found = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert next(iter(found)) == "fid"
    of_fid = {key: value for key, value in found.items() if key.startswith("fid")}
    spread = statistics.stdev([0.5, 0.25])
    assert of_fid == {"fid": 2.0, "fid_spread": 1.0, "fid_floor": 0.375, "fid_floor_spread": spread}
    assert (found["kid"], found["kid_spread"], found["kid_error"]) == (0.02, 0.0, pytest.approx(0.003))
    assert found["inception_score_error"] == 0.125
    assert found["missing_classes"] == 1
    facts = {
        "extractor": "own@ab",
        "extractor_hash": "ab" * 32,
        "num_samples": 1000,
        "num_real": 10_000,
        "num_seeds": 3,
    }
    assert facts.items() <= found.items()


def test_one_seed_has_no_spread():
    found = QualityResult([measures(1.0)], [measures(0.5)], "own", "ab").as_dict()
    assert {key: value for key, value in found.items() if key.startswith("fid")} == {"fid": 1.0, "fid_floor": 0.5}


def test_a_result_has_a_line_for_people():
    samples = [measures(1.0, classifier=False), measures(3.0, classifier=False)]
    result = QualityResult(samples, [measures(0.5, classifier=False)], "own", "abcdef0123456789")
    assert result.summary() == (
        "FID 2 ± 1.41 (real 0.5), KID 0.02 ± 0 (real 0.02), precision 0.75 ± 0 (real 0.75), recall 0.5 ± 0 (real 0.5), "
        "density 1.25 ± 0 (real 1.25), coverage 0.9 ± 0 (real 0.9); 1,000 samples against 10,000 real ones, 2 seeds, "
        "features of own"
    )
    line = QualityResult([measures(1.0)], [measures(0.5)], "own", "abcdef0123456789").summary()
    assert line.startswith("FID 1 (real 0.5), ")
    assert "Inception score 9.5 (real 9.5); 1,000 samples" in line
    assert "one seed, spread n/a" in line


@pytest.mark.parametrize(
    ("samples", "floors", "message"),
    [
        ([], [measures(1.0)], "one set of samples and of one set of real items at least"),
        ([measures(1.0)], [], "one set of samples and of one set of real items at least"),
        ([measures(1.0)], [measures(1.0, num_samples=500)], "the same numbers of items, and the same measures"),
        ([measures(1.0), measures(1.0, classifier=False)], [measures(1.0)], "and the same measures"),
    ],
)
def test_sets_that_cannot_stand_beside_each_other_are_refused(samples, floors, message):
    with pytest.raises(ValueError, match=message):
        QualityResult(samples, floors, "own", "ab")
