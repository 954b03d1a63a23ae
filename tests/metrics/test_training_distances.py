"""Copies of training images are found, and new images are none."""

import pytest
from subjects import GivenSamples

from diffusion_lab.data import Digits
from diffusion_lab.metrics.own_features import OwnFeatures
from diffusion_lab.metrics.training_distances import TrainingDistances


@pytest.fixture(scope="module")
def data():
    digits = Digits(image_size=16)
    digits.setup()
    return digits


@pytest.fixture(scope="module")
def of(data, tmp_path_factory):
    features = OwnFeatures(str(tmp_path_factory.mktemp("data")))
    return lambda images: TrainingDistances(features, len(images))(GivenSamples(data, (images, None)))


def test_copies_are_found_with_their_originals(data, of):
    train = data.split("train")[0]
    result = of(train[30:50])
    assert result.found.samples.index.tolist() == list(range(30, 50))
    assert result.as_dict()["nearer"] == 1
    assert result.nearest.equal(train[30:50])
    assert "100.0% of 20 samples are nearer" in result.summary()


def test_new_images_are_as_far_as_held_out_ones(data, of):
    found = of(data.split("test")[0]).as_dict()
    assert found["nearer"] < 0.05
    assert 0.7 < found["median_ratio"] < 1.4


def test_there_are_figures_of_the_pairs_and_of_the_distances(data, of):
    figures = of(data.split("test")[0][:30]).figures()
    assert figures["nearest"].names == ["generated", "training"]
    assert figures["distances"].axes


def test_a_number_out_of_range_is_refused_by_its_key():
    with pytest.raises(ValueError, match=r"evaluation\.memorization\.num_samples must be at least 1, got 0"):
        TrainingDistances(None, 0)
