import pytest
import torch

from diffusion_lab.metrics import quality
from diffusion_lab.metrics.frechet_distance import frechet_distance
from diffusion_lab.metrics.quality import Reference, check_num_samples, floor

LOGITS = torch.randn(3, 5, generator=torch.Generator().manual_seed(99))


def normal(count, seed):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


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


def test_samples_of_one_kind_are_precise_and_recall_little_and_the_other_way_around():
    """Samples in the middle of the data lie among it all, and most of the data lies far from them."""
    reference = Reference(normal(200, 0))
    narrow = reference.measure(0.2 * normal(60, 1)).values()
    assert narrow["precision"] > 0.9
    assert narrow["recall"] < 0.2
    wide = reference.measure(2.5 * normal(200, 1)).values()
    assert wide["precision"] < 0.5 < wide["recall"]


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
