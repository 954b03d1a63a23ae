"""A classifier learns from images what their labels are worth."""

from dataclasses import replace

import pytest
import torch
from subjects import GivenSamples

from diffusion_lab.data import Digits
from diffusion_lab.metrics.classification_accuracy import ClassificationAccuracy


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
    assert good.summary().startswith("a classifier that learned from 600 generated images alone finds the class of ")


def test_samples_of_no_class_are_refused(data):
    subject = GivenSamples(data, (torch.zeros(20, 1, 8, 8), None))
    with pytest.raises(ValueError, match="it needs samples of known classes"):
        ClassificationAccuracy(20).check_parts(subject.pipeline, data)


@pytest.mark.parametrize("key", ["num_samples", "steps"])
def test_numbers_out_of_range_are_refused_by_their_key(key):
    with pytest.raises(ValueError, match=rf"evaluation\.cas\.{key} must be at least"):
        ClassificationAccuracy(**{key: 0})


def test_a_share_of_the_target_is_below_1():
    with pytest.raises(ValueError, match=r"evaluation\.cas\.label_smoothing must be from 0 to below 1, got 1\.5"):
        ClassificationAccuracy(label_smoothing=1.5)
