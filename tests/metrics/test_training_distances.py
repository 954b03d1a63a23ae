"""Copies of training images are found, and new images are none."""

import pytest
from subjects import GivenSamples

from diffusion_lab.data import Digits
from diffusion_lab.errors import LabError
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
    assert TrainingDistances(None, 1).num_samples == 1


def test_a_missing_extractor_is_said_before_anything_is_drawn(data, tmp_path):
    features = OwnFeatures(str(tmp_path), str(tmp_path / "none.safetensors"))
    with pytest.raises(LabError, match="cannot read the feature network"):
        TrainingDistances(features).check(data)


def test_the_numbers_for_a_file_and_the_line_for_people_name_the_extractor(data, of):
    result = of(data.split("test")[0][:12])
    found = result.as_dict()
    assert list(found) == [
        *("nearer", "threshold", "median_ratio"),
        *("extractor", "extractor_hash", "num_samples", "evaluations"),
    ]
    assert (found["num_samples"], found["evaluations"]) == (12, 7.0)
    assert found["extractor"] == f"own/Digits@{found['extractor_hash'][:8]}"
    assert result.summary() == f"{result.found.summary()}; features of {found['extractor']}"
    assert len(result.found.held_out.index) == len(data.val)


@pytest.mark.parametrize("bar", [True, False])
def test_there_is_a_bar_for_each_set_where_the_run_shows_some(tmp_path, capsys, bar):
    few = Digits(image_size=16, limit_train=20)
    subject = GivenSamples(few, (few.split("test")[0][:5], None))
    subject.bar = bar
    TrainingDistances(OwnFeatures(str(tmp_path)), 5)(subject)
    assert capsys.readouterr().err.count("\n") == (3 if bar else 0)
