import json
import statistics

import pytest
import torch

from diffusion_lab.metrics import quality
from diffusion_lab.metrics.class_balance import ClassBalance
from diffusion_lab.metrics.frechet_distance import frechet_distance
from diffusion_lab.metrics.inception_score import InceptionScore
from diffusion_lab.metrics.kernel_distance import KernelDistance
from diffusion_lab.metrics.neighbour_balls import DensityCoverage, PrecisionRecall
from diffusion_lab.metrics.quality import Measures, QualityResult, Reference, check_num_samples, floor

LOGITS = torch.randn(3, 5, generator=torch.Generator().manual_seed(99))


def normal(count, seed):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


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


@pytest.fixture(scope="module")
def reference():
    return Reference(normal(200, 0), normal(200, 0) @ LOGITS.T)


def test_the_measures_are_those_of_each_function(reference):
    x = 1.2 * normal(60, 1) + 0.3
    found = reference.measure(x, x @ LOGITS.T)
    values = found.values()
    assert list(values) == [
        *("fid", "kid", "precision", "recall", "density", "coverage"),
        *("inception_score", "class_total_variation", "class_entropy", "missing_classes"),
    ]
    assert (found.num_samples, found.num_real) == (60, 200)
    assert values["fid"] == frechet_distance(reference.features, x)
    assert 0.2 < values["recall"] < 1
    assert 0.2 < values["coverage"] < values["precision"] < 1
    assert values["kid"] == found.kid.value > found.kid.error
    assert reference.measure(x, x @ LOGITS.T) == found


def test_without_a_classifier_there_are_no_measures_of_classes():
    found = Reference(normal(200, 0)).measure(normal(10, 1))
    assert (found.inception_score, found.class_balance) == (None, None)
    assert list(found.values()) == ["fid", "kid", "precision", "recall", "density", "coverage"]


def test_what_depends_on_the_reference_alone_is_computed_once(monkeypatch):
    sizes = []
    around = quality.NeighbourBalls.around
    monkeypatch.setattr(
        quality.NeighbourBalls, "around", lambda features, k: sizes.append((len(features), k)) or around(features, k)
    )
    reference = Reference(normal(50, 0))
    reference.measure(normal(20, 1))
    reference.measure(normal(20, 2))
    assert sorted(sizes) == [(20, 3), (20, 3), (50, 3), (50, 5)]


def test_the_floor_is_that_of_as_many_real_items_chosen_by_the_seed(reference):
    real = normal(500, 7)
    logits = real @ LOGITS.T
    found = floor(real, reference, 100, 1, logits)
    assert found == floor(real, reference, 100, 1, logits)
    assert found != floor(real, reference, 100, 2, logits)
    assert found.num_samples == 100
    everything = floor(real, reference, 500, 1, logits)
    assert everything.fid == pytest.approx(frechet_distance(reference.features, real), rel=1e-9)
    assert everything.fid < found.fid < frechet_distance(reference.features, 1.3 * real[:100])


def test_the_floor_takes_the_logits_of_the_same_items(monkeypatch, reference):
    real = torch.arange(50.0)[:, None].expand(-1, 5)
    given = []
    monkeypatch.setattr(Reference, "measure", lambda self, features, logits: given.append((features, logits)))
    floor(real, reference, 20, 0, real[:, :3] * 2)
    ((features, logits),) = given
    assert torch.equal(features[:, :3] * 2, logits)
    assert len(features[:, 0].unique()) == 20


def test_too_few_real_items_for_a_floor_are_refused(reference):
    with pytest.raises(ValueError, match=r"^the floor of 51 samples needs as many real items, got 50$"):
        floor(normal(50, 0), reference, 51, 0)


@pytest.mark.parametrize(
    ("features", "logits", "message"),
    [
        (normal(30, 1), None, r"^logits must be given of both samples and real items, or of neither$"),
        (normal(30, 1), normal(29, 1), r"^30 samples need as many logits, got 29$"),
        (normal(19, 1), normal(19, 1)[:, :3], r"^quality needs at least 20 samples, got 19: its Inception score"),
        (normal(30, 1) * torch.nan, normal(30, 1)[:, :3], r"^generated features must be finite"),
        (normal(30, 1)[:, 1:], normal(30, 1)[:, :3], r"must be of one size, got 5 and 4$"),
    ],
)
def test_samples_that_cannot_be_measured_are_refused_before_the_balls_are_computed(
    monkeypatch, reference, features, logits, message
):
    monkeypatch.setattr(quality, "NeighbourBalls", None)
    with pytest.raises(ValueError, match=message):
        Reference(reference.features, reference.logits).measure(features, logits)


@pytest.mark.parametrize(
    ("features", "logits", "message"),
    [
        (normal(9, 0), None, r"^quality needs at least 10 real items, got 9$"),
        (normal(10, 0), normal(9, 0), r"^10 real items need as many logits, got 9$"),
        (normal(10, 0) / 0, None, r"^real features must be finite"),
        (normal(10, 0), normal(10, 0) / 0, r"^real logits must be finite"),
        (torch.ones(10, 5), None, r"^all 10 real items have the same features"),
    ],
)
def test_real_items_that_nothing_can_be_compared_with_are_refused_at_once(features, logits, message):
    with pytest.raises(ValueError, match=message):
        Reference(features, logits)


def test_the_fewest_samples_that_are_accepted_can_be_measured(reference):
    for count, classifier in ((10, False), (20, True)):
        check_num_samples(count, classifier)
        with pytest.raises(ValueError, match=rf"^quality needs at least {count} samples, got {count - 1}: its "):
            check_num_samples(count - 1, classifier)
    Reference(reference.features).measure(normal(10, 1))
    reference.measure(normal(20, 1), normal(20, 1) @ LOGITS.T)


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
