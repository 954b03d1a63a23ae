"""Quality of samples that are known: real images, and images that are none."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from subjects import GivenSamples

from diffusion_lab.data import Digits
from diffusion_lab.errors import LabError
from diffusion_lab.metrics.own_features import OwnFeatures
from diffusion_lab.metrics.sample_quality import SampleQuality


@pytest.fixture(scope="module")
def data():
    digits = Digits(image_size=16)
    digits.setup()
    return digits


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return OwnFeatures(str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def of_real(data, features):
    images, labels = data.split("test")
    halves = [(images[part::2], labels[part::2]) for part in (0, 1)]
    return SampleQuality(features, 80, 2)(GivenSamples(data, *halves))


def test_real_images_are_as_good_as_real_ones(of_real):
    found = of_real.as_dict()
    assert next(iter(found)) == "fid"
    assert found["fid"] < 1.5 * found["fid_floor"]
    assert found["coverage"] > 0.7
    assert found["label_accuracy"] > 0.9
    assert found["extractor"].startswith("own/Digits@")
    assert (found["num_samples"], found["num_seeds"], found["split"], found["evaluations"]) == (80, 2, "val", 7.0)
    assert of_real.summary().startswith("FID ")
    assert "% read as their label" in of_real.summary()


def test_noise_is_no_image_and_wrong_labels_are_noticed(data, features, of_real):
    noise = torch.rand(60, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = SampleQuality(features, 60, 1)(GivenSamples(data, (noise, None))).as_dict()
    assert found["fid"] > 10 * of_real.as_dict()["fid"]
    assert "label_accuracy" not in found
    images, labels = data.split("test")
    wrong = SampleQuality(features, 80, 1)(GivenSamples(data, (images, (labels + 1) % 10))).as_dict()
    assert wrong["label_accuracy"] < 0.1


def test_two_evaluations_are_equal_to_the_last_digit_and_leave_the_global_generator_alone(data, features):
    images, labels = data.split("test")
    before = torch.get_rng_state()
    once, again = (SampleQuality(features, 60, 1)(GivenSamples(data, (images, labels))).as_dict() for _ in range(2))
    assert once == again
    assert torch.equal(before, torch.get_rng_state())


def test_the_most_typical_samples_stand_first(data, features):
    images, _ = data.split("test")
    noise = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mixed = torch.cat([noise, images[:40]])
    result = SampleQuality(features, 60, 1)(GivenSamples(data, (mixed, None)))
    assert len(set(result.order[-20:].tolist()) & set(range(20))) >= 18
    assert result.figures()["typicality"].names[0] == "most typical"


def test_the_floor_is_of_images_that_samples_are_not_compared_with(data, features):
    asked = []

    def split(name, count=None):
        asked.append(name)
        return data.split(name, count)

    extractor = features.load_extractor(data)
    fixed = SimpleNamespace(load_extractor=lambda *_: extractor)
    splits = {name: getattr(data, name) for name in ("train", "val", "test", "item")}
    subject = GivenSamples(SimpleNamespace(split=split, **splits), (data.split("test")[0], None))
    for compared, expected in (("val", ["val", "train"]), ("test", ["test", "val"])):
        asked.clear()
        SampleQuality(fixed, 60, 1, compared)(subject)
        assert asked == expected


def test_the_floor_is_of_validation_images_where_they_are_twice_as_many_as_the_samples_and_others(features):
    """Of a split that is compared with itself, the floor would be perfect."""
    small, same = Digits(image_size=16), Digits(image_size=16)
    for each, count in ((small, 79), (same, 80)):
        each.setup()
        each.val = each.val.take(torch.arange(count))
    small.train = small.train.take(torch.arange(39))
    with pytest.raises(ValueError, match="the train split has 39"):
        SampleQuality(features, 40, split="test").check(small)
    small.val = same.val
    SampleQuality(features, 40, split="test").check(small)
    small.val = small.test
    with pytest.raises(ValueError, match="the train split has 39"):
        SampleQuality(features, 40, split="test").check(small)
    with pytest.raises(ValueError, match="the train split has 39"):
        SampleQuality(features, 40).check(small)


def test_ten_real_items_to_compare_with_are_enough(features):
    few = Digits(image_size=16)
    few.setup()
    few.val = few.val.take(torch.arange(10))
    SampleQuality(features, 20).check(few)


def test_the_order_is_of_the_samples_of_the_first_seed(data, features):
    images = data.split("test")[0]
    noise = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sets = torch.cat([noise, images[:20]]), torch.cat([images[:20], noise])
    result = SampleQuality(features, 40, 2)(GivenSamples(data, *((items, None) for items in sets)))
    assert result.first.items.equal(sets[0])
    assert len(set(result.order[-20:].tolist()) & set(range(20))) >= 18


@pytest.mark.parametrize(("num_samples", "expected"), [(20, 5000), (2500, 5000), (3000, 6000)])
def test_the_floor_is_chosen_from_5000_real_items_or_from_twice_as_many_as_samples(num_samples, expected):
    class Asked(Exception):
        pass

    def split(name, count=None):
        if name == "train":
            raise Asked(count)
        return torch.rand(20, 3), None

    extractor = SimpleNamespace(load_extractor=lambda *_: lambda items: (items, None))
    subject = GivenSamples(SimpleNamespace(split=split), (None, None))
    with pytest.raises(Asked, match=f"^{expected}$"):
        SampleQuality(extractor, num_samples)(subject)


def test_the_choices_of_the_floor_are_not_the_same_images(data, features):
    """The validation split has fewer images than two choices need; all of it would be chosen each time."""
    n = len(data.val)
    images = data.split("train")[0]
    sets = [(images[:n], None), (images[n : 2 * n], None)]
    found = SampleQuality(features, n, 2, "test")(GivenSamples(data, *sets)).as_dict()
    assert found["fid_floor_spread"] > 1e-3 * found["fid_floor"]


def test_too_few_real_items_are_said_before_anything_is_drawn(data, features):
    SampleQuality(features, len(data.train)).check(data)
    with pytest.raises(ValueError, match=r"1,440 samples .* as many real items.* the train split has 1,439"):
        SampleQuality(features, len(data.train) + 1).check(data)
    few = Digits(image_size=16)
    few.setup()
    few.val = few.val.take(torch.arange(9))
    with pytest.raises(ValueError, match=r"the val split has 9"):
        SampleQuality(features, 20).check(few)


@pytest.mark.parametrize(("key", "value"), [("num_samples", 19), ("seeds", 0), ("seeds", 1001)])
def test_numbers_out_of_range_are_refused_by_their_key(features, key, value):
    with pytest.raises(ValueError, match=rf"evaluation\.quality\.{key}"):
        SampleQuality(features, **{key: value})


def test_the_edges_of_the_ranges_are_within_them(features):
    for seeds in (1, 1000):
        found = SampleQuality(features, 20, seeds)
        assert (found.num_samples, found.seeds) == (20, seeds)


def test_a_missing_extractor_is_said_before_anything_is_drawn(data, tmp_path):
    features = OwnFeatures(str(tmp_path), str(tmp_path / "none.safetensors"))
    with pytest.raises(LabError, match="cannot read the feature network"):
        SampleQuality(features).check(data)


def test_a_classifier_of_other_classes_reads_no_labels(features):
    few = Digits(image_size=16, limit_train=40)
    few.setup()
    known = features.load_extractor(few)
    other = SimpleNamespace(load_extractor=lambda *_: replace(known, accuracy=None))
    result = SampleQuality(other, 20, 1)(GivenSamples(few, few.split("test")))
    assert result.label_accuracy is None
    assert "label_accuracy" not in result.as_dict()
    assert result.summary().endswith(", val split, 7 network evaluations")
