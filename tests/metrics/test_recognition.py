from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import ensemble
from subjects import GivenSamples

from diffusion_lab.config.instantiate import make
from diffusion_lab.config.tree import read_option
from diffusion_lab.data import Digits
from diffusion_lab.metrics import Recognition, RecognitionResult

JUDGE = {"members": 3, "hidden": 48}


@pytest.fixture(scope="module")
def data():
    digits = Digits(image_size=8)
    digits.setup()
    return digits


@pytest.fixture(scope="module")
def noise():
    uniform = torch.rand(150, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return uniform * 2 - 1


@pytest.fixture(scope="module")
def of_real(data):
    return Recognition(**JUDGE).judge(data.split("test")[0], data.split("train"), data.split("val"))


@pytest.fixture(scope="module")
def of_noise(data, noise):
    return Recognition(**JUDGE).judge(noise, data.split("train"), data.split("val"))


def test_real_images_are_read_in_all_their_classes(of_real):
    assert of_real.samples > 0.6
    assert of_real.classes == 10


def test_noise_is_not_read(of_noise):
    assert of_noise.samples < 0.15


def test_the_judge_s_own_marks_do_not_depend_on_the_samples(of_real, of_noise):
    assert of_real.real == of_noise.real > 0.6
    assert of_real.accuracy == of_noise.accuracy > 0.93
    assert of_real.shuffled == of_noise.shuffled < 0.3


def test_the_same_seed_gives_the_same_marks(data, noise, of_noise):
    torch.manual_seed(1)
    again = Recognition(**JUDGE).judge(noise, data.split("train"), data.split("val"))
    assert again == of_noise


@pytest.mark.slow
def test_colours_are_read_as_well(data):
    """A digit in red; its other two bands are black."""
    (train, labels), (held_out, held_out_labels) = data.split("train"), data.split("val")
    red, red_held_out = (
        torch.cat([part, torch.full_like(part, -1).repeat(1, 2, 1, 1)], 1) for part in (train, held_out)
    )
    result = Recognition(**JUDGE).judge(red_held_out, (red, labels), (red_held_out, held_out_labels))
    assert result.accuracy > 0.9
    assert result.samples == result.real > 0.6


def test_classes_are_those_of_the_samples_that_are_read(data):
    threes = data.to_batch(data.test.data[data.test.labels == 3])
    result = Recognition(**JUDGE).judge(threes, data.split("train"), data.split("val"))
    assert result.samples > 0.6
    assert result.classes == 1


def test_the_result_is_a_mapping_of_plain_numbers(of_real):
    mapping = of_real.as_dict()
    assert list(mapping) == ["samples", "real", "shuffled", "accuracy", "classes"]
    assert {type(value) for value in mapping.values()} == {float, int}


def test_a_judge_learns_from_two_classes_at_least_among_the_images_that_it_is_given(data):
    labels = SimpleNamespace(labels=torch.tensor([3, 3, 3, 5]))
    Recognition(max_train=4).check(SimpleNamespace(train=labels))
    with pytest.raises(ValueError, match=r"two classes at least, got 1: raise data\.limit_train"):
        Recognition(max_train=3).check(SimpleNamespace(train=labels))
    with pytest.raises(ValueError, match="it needs images with labels, and this data has none"):
        Recognition().check(SimpleNamespace(train=SimpleNamespace(labels=None)))


def test_the_judge_learns_from_the_first_training_images_and_real_ones_are_the_test_images(data, monkeypatch):
    given = []
    monkeypatch.setattr(Recognition, "judge", lambda _, *sets: given.append(sets))
    images, labels = data.split("test")
    Recognition(max_train=50)(GivenSamples(data, (images[:7], None)))
    ((samples, train, held_out),) = given
    assert samples.equal(images[:7])
    assert (len(train[0]), len(train[1])) == (50, 50)
    assert held_out[0].equal(images)
    assert held_out[1].equal(labels)


def test_each_member_learns_from_four_fifths_of_the_images_of_its_own(data, monkeypatch):
    judges = []

    class Kept(ensemble.BaggingClassifier):
        def fit(self, *given):
            judges.append(self)
            return super().fit(*given)

    monkeypatch.setattr(ensemble, "BaggingClassifier", Kept)
    train = data.split("train", 60)
    Recognition(max_train=50, members=3, hidden=4).judge(train[0], train, train)
    (judge,) = judges
    assert [len(np.unique(rows)) for rows in judge.estimators_samples_] == [40] * 3
    assert len({tuple(np.sort(rows)) for rows in judge.estimators_samples_}) == 3
    assert [member.hidden_layer_sizes for member in judge.estimators_] == [(4,)] * 3


def test_the_smallest_sizes_are_allowed():
    found = Recognition(max_train=1, members=1, hidden=1)
    assert (found.max_train, found.members, found.hidden) == (1, 1, 1)


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 1.5])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(ValueError, match=r"^evaluation\.recognition\.threshold must lie between 0 and 1"):
        Recognition(threshold=threshold)


@pytest.mark.parametrize("key", ["max_train", "members", "hidden"])
def test_sizes_that_cannot_be_are_refused_by_their_key(key):
    with pytest.raises(ValueError, match=rf"evaluation\.recognition\.{key} must be at least 1, got 0"):
        Recognition(**{key: 0})


def test_a_result_has_numbers_for_a_file_and_a_line_for_people():
    result = RecognitionResult(0.5, 0.92, 0.01, 0.97, 4, threshold=0.9, num_samples=8, num_real=179)
    assert result.as_dict() == {"samples": 0.5, "real": 0.92, "shuffled": 0.01, "accuracy": 0.97, "classes": 4}
    assert result.summary() == (
        "read with more than 90% confidence: 50% of 8 samples (4 classes among them), "
        "92% of 179 held-out real images, 1% of those with shuffled pixels"
    )


def test_the_defaults_are_those_of_the_config_tree():
    node = read_option("evaluation", "recognition")["recognition"]
    assert vars(make(node, "evaluation.recognition", {})) == vars(Recognition())
