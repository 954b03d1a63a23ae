"""A classifier learns from images what their labels are worth."""

from dataclasses import replace

import pytest
import torch
from subjects import GivenSamples

from diffusion_lab.data import Digits, ImageFolder
from diffusion_lab.errors import LabError
from diffusion_lab.metrics.classification_accuracy import ClassificationAccuracy, ClassificationAccuracyResult
from diffusion_lab.metrics.feature_training import FeatureTraining
from picture_folder import fill


@pytest.fixture(scope="module")
def data():
    digits = Digits(image_size=8)
    digits.setup()
    return digits


@pytest.mark.slow
def test_images_are_worth_what_their_labels_are(data):
    images, labels = data.split("train", 600)
    cas = ClassificationAccuracy(600, steps=40, split="test")
    cas.training = replace(cas.training, batch_size=32, shift=0)
    good = cas(GivenSamples(data, (images, labels)))
    wrong = cas(GivenSamples(data, (images, (labels + 1) % 10)))
    assert good.generated > 0.5
    assert wrong.generated < 0.1
    assert good.real == wrong.real > 0.5
    assert list(good.as_dict()) == ["accuracy", "accuracy_real", "num_samples", "split", "evaluations"]
    assert (good.num_samples, good.split, good.evaluations) == (600, "test", 7.0)
    assert good.summary().startswith("a classifier that learned from 600 generated images alone finds the class of ")


def test_samples_of_no_class_are_refused_and_those_of_classes_are_not(data):
    subject = GivenSamples(data, (torch.zeros(20, 1, 8, 8), None))
    with pytest.raises(ValueError, match="it needs samples of known classes"):
        ClassificationAccuracy(20).check_parts(subject.pipeline, data)
    ClassificationAccuracy(20).check_parts(GivenSamples(data, data.split("val")).pipeline, data)


@pytest.mark.parametrize("key", ["num_samples", "steps"])
def test_numbers_out_of_range_are_refused_by_their_key(key):
    with pytest.raises(ValueError, match=rf"evaluation\.cas\.{key} must be at least"):
        ClassificationAccuracy(**{key: 0})


@pytest.mark.parametrize("share", [1.5, 1.0, -0.1])
def test_a_share_of_the_target_is_from_0_to_below_1(share):
    with pytest.raises(ValueError, match=rf"evaluation\.cas\.label_smoothing must be from 0 to below 1, got {share}"):
        ClassificationAccuracy(label_smoothing=share)


def test_the_classifier_is_trained_with_the_steps_and_the_smoothing_that_are_asked_for():
    expected = replace(FeatureTraining(), steps=7, label_smoothing=0.3)
    assert ClassificationAccuracy(steps=7, label_smoothing=0.3).training == expected
    least = ClassificationAccuracy(num_samples=2, steps=1, label_smoothing=0.0)
    assert (least.num_samples, least.training) == (2, replace(FeatureTraining(), steps=1))
    with pytest.raises(ValueError, match=r"evaluation\.cas\.num_samples must be at least 2, got 1"):
        ClassificationAccuracy(num_samples=1)


def test_images_of_no_class_are_refused_before_any_is_drawn(data, tmp_path):
    ClassificationAccuracy().check(data)
    unlabelled = ImageFolder(str(fill(tmp_path, {".": 4})), image_size=8, classes=[])
    with pytest.raises(LabError, match="data=ImageFolder has none"):
        ClassificationAccuracy().check(unlabelled)


def test_a_result_has_numbers_for_a_file_and_a_line_for_people():
    result = ClassificationAccuracyResult(0.75, 0.9, 1200, "test", 50.0)
    assert result.as_dict() == {
        "accuracy": 0.75,
        "accuracy_real": 0.9,
        "num_samples": 1200,
        "split": "test",
        "evaluations": 50.0,
    }
    assert result.summary() == (
        "a classifier that learned from 1,200 generated images alone finds the class of 75.00% of the real test "
        "images; one that learned from real ones, 90.00%"
    )
