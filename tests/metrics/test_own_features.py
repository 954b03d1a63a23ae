import hashlib
import shutil

import pytest
import torch
from hatchling.builders.wheel import WheelBuilder

from diffusion_lab.config.instantiate import make
from diffusion_lab.config.tree import conf_dir, read_option
from diffusion_lab.data import Digits, ImageFolder
from diffusion_lab.errors import LabError
from diffusion_lab.machine import file_lock
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.metrics import own_features
from diffusion_lab.metrics.feature_training import FeatureTraining, accuracy
from diffusion_lab.metrics.feature_weights import read_features
from diffusion_lab.metrics.own_features import (
    SHIPPED,
    SHIPPED_FOLDER,
    OwnFeatures,
    kept_path,
    train_features,
)
from picture_folder import fill


@pytest.fixture
def quick(monkeypatch):
    """Networks that are trained where they are needed take two steps."""
    monkeypatch.setattr(own_features, "FeatureTraining", lambda: FeatureTraining(steps=2))


def digits(**options):
    data = Digits(**{"limit_train": 256} | options)
    data.setup()
    return data


def shipped_file(name):
    return SHIPPED_FOLDER / SHIPPED[name][0]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_network_is_small_and_has_the_hash_that_the_code_says(name):
    content = shipped_file(name).read_bytes()
    found = read_features(shipped_file(name))
    assert len(content) < 1_000_000
    assert hashlib.sha256(content).hexdigest() == SHIPPED[name][1] == found.sha256
    assert found.facts.data == name
    assert found.facts.num_features <= 128
    assert found.facts.num_classes == 10


def test_no_other_file_ships():
    assert {path.name for path in SHIPPED_FOLDER.iterdir()} == {shipped_file(name).name for name in SHIPPED}


def test_the_networks_of_other_data_are_as_good_as_they_were_measured_when_they_were_trained():
    """Their data is not at hand in tests."""
    accuracies = {name: read_features(shipped_file(name)).facts for name in SHIPPED if name != "Digits"}
    for name, least in (("MNIST", 0.993), ("FashionMNIST", 0.915)):
        facts = accuracies.pop(name)
        assert facts.accuracy >= least
        assert (facts.train_images, facts.test_images, facts.shape) == (55_000, 10_000, (1, 28, 28))
    assert accuracies == {}


def test_the_network_of_the_digits_finds_as_many_classes_as_it_says(tmp_path):
    data = digits(limit_train=None)
    extractor = OwnFeatures(str(tmp_path)).load_extractor(data)
    facts = read_features(shipped_file("Digits")).facts
    assert (facts.train_hash, facts.test_hash) == (data.fingerprint()["train"], data.fingerprint()["test"])
    images, labels = data.split("test")
    _, logits = extractor(images)
    found = float((logits.argmax(1) == labels).double().mean())
    assert abs(found - facts.accuracy) <= 1 / len(labels)  # rounding on another processor may turn one
    assert extractor.accuracy == facts.accuracy >= 0.97
    assert extractor.weights_hash == SHIPPED["Digits"][1]
    assert (extractor.name, extractor.num_features, extractor.num_classes) == ("own/Digits", 96, 10)
    assert not list(tmp_path.iterdir())


def test_a_shipped_network_serves_whatever_is_trained_on(tmp_path):
    for options in ({"limit_train": 32}, {"seed": 3, "batch_size": 7}):
        assert OwnFeatures(str(tmp_path)).load_extractor(digits(**options)).weights_hash == SHIPPED["Digits"][1]


def test_the_wheel_holds_the_shipped_networks():
    wheel = WheelBuilder(str(conf_dir().parent))
    files = {file.distribution_path for file in wheel.recurse_included_files()}
    assert {f"diffusion_lab/metrics/weights/{file}" for file, _ in SHIPPED.values()} <= files


@pytest.mark.parametrize("options", [{"image_size": 8}, {"split_seed": 1}])
def test_other_images_have_a_network_of_their_own_which_is_kept(tmp_path, capsys, quick, options):
    """Images of another size, or the same with other ones to test on."""
    data = digits(**options)
    first = OwnFeatures(str(tmp_path)).load_extractor(data)
    path = kept_path(data, tmp_path)
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"there is no feature network for this data yet: training one, kept in {path}"
    assert first.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest() != SHIPPED["Digits"][1]
    assert path.name.startswith(f"digits_1x{data.image_size}x{data.image_size}_{data.fingerprint()['train']}")
    facts = read_features(path).facts
    assert facts.accuracy == first.accuracy == accuracy(first.network, data, data.test)
    assert (facts.train_images, facts.test_images) == (256, len(data.test))
    lock = Lock.take(path.with_name(f".{path.stem}.lock"))
    assert lock is not None  # since it was released
    lock.release()
    again = OwnFeatures(str(tmp_path)).load_extractor(digits(**options))
    assert again.weights_hash == first.weights_hash
    assert capsys.readouterr().out == ""


def test_a_folder_of_pictures_has_its_network_trained_and_other_pictures_another(tmp_path, quick):
    paths = []
    for number, counts in enumerate(({"cat": 9, "dog": 8}, {"cat": 8, "dog": 9})):
        folder = fill(tmp_path / str(number), counts)
        data = ImageFolder(str(folder), image_size=8, workers=0)
        extractor = OwnFeatures(str(tmp_path / "data")).load_extractor(data)
        images, _ = data.split("train")
        features, logits = extractor(images)
        assert features.shape == (len(images), 96)
        assert logits.shape == (len(images), 2)
        paths.append(kept_path(data, tmp_path / "data"))
    assert paths[0] != paths[1]
    assert all(path.is_file() for path in paths)


def test_a_process_that_waited_takes_the_network_that_another_has_trained(tmp_path, quick, monkeypatch, capsys):
    data = digits(image_size=8)
    path = kept_path(data, tmp_path)
    path.parent.mkdir()
    lock = Lock.take(path.with_name(f".{path.stem}.lock"))
    other = tmp_path / "other.safetensors"
    train_features(data, FeatureTraining(steps=2, seed=5), other, "")

    def finish(_):
        shutil.copy(other, path)
        lock.release()

    monkeypatch.setattr(file_lock.time, "sleep", finish)
    extractor = OwnFeatures(str(tmp_path)).load_extractor(data)
    assert extractor.weights_hash == hashlib.sha256(other.read_bytes()).hexdigest()
    assert "another process trains the feature network" in capsys.readouterr().out


def test_a_kept_network_is_read_also_while_another_process_holds_the_lock(tmp_path, capsys, monkeypatch):
    data = digits(image_size=8)
    path = kept_path(data, tmp_path)
    path.parent.mkdir()
    train_features(data, FeatureTraining(steps=2), path, "")

    def waits(_):
        raise AssertionError

    monkeypatch.setattr(file_lock.time, "sleep", waits)
    lock = Lock.take(path.with_name(f".{path.stem}.lock"))
    capsys.readouterr()
    try:
        extractor = OwnFeatures(str(tmp_path)).load_extractor(data)
    finally:
        lock.release()
    assert extractor.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert capsys.readouterr().out == ""


def test_a_file_that_is_named_is_taken(tmp_path):
    data = digits(image_size=8)
    path = tmp_path / "mine.safetensors"
    train_features(data, FeatureTraining(steps=2), path, "python scripts/train_features.py")
    extractor = OwnFeatures(str(tmp_path), str(path)).load_extractor(data)
    assert extractor.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(LabError, match="is the feature network of Digits, for images 1×8×8; the data's are 1×16×16"):
        OwnFeatures(str(tmp_path), str(path)).load_extractor(digits())


def test_a_shipped_file_that_was_changed_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "digits.safetensors"
    content = bytearray(shipped_file("Digits").read_bytes())
    content[-1] ^= 1  # the size of one weight
    changed.write_bytes(content)
    monkeypatch.setattr(own_features, "SHIPPED_FOLDER", tmp_path)
    with pytest.raises(LabError, match=r"digits\.safetensors is not the file that was shipped, by its hash"):
        OwnFeatures(str(tmp_path)).load_extractor(digits())


def test_a_kept_file_that_is_damaged_is_named(tmp_path):
    data = digits(image_size=8)
    path = kept_path(data, tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    with pytest.raises(LabError, match=r"features/digits_1x8x8_\w+\.safetensors is damaged"):
        OwnFeatures(str(tmp_path)).load_extractor(data)


def test_data_without_labels_is_refused_with_what_is_possible(tmp_path):
    data = ImageFolder(str(fill(tmp_path / "pictures", {".": 4})), image_size=8, classes=[], workers=0)
    with pytest.raises(LabError, match=r"features=inception with features\.path=…, or sort the images"):
        OwnFeatures(str(tmp_path)).load_extractor(data)


def test_a_data_folder_that_cannot_be_written_is_named_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"cannot make the folder .*file/features: .* \(paths\.data_dir=…\)"):
        OwnFeatures(str(tmp_path / "file")).load_extractor(digits(image_size=8))


def test_a_set_of_the_same_name_with_other_images_does_not_get_the_shipped_network(monkeypatch):
    class Other(Digits):
        def load(self):
            train, val, _ = super().load()
            return train, val, val

    Other.__name__ = "Digits"
    data = Other()
    data.setup()
    assert own_features.shipped(data) is None


def test_features_of_different_images_differ(tmp_path):
    images, _ = digits().split("test", 20)
    features, _ = OwnFeatures(str(tmp_path)).load_extractor(digits())(images)
    assert torch.cdist(features, features).fill_diagonal_(1).min() > 0.01


def test_the_option_of_the_config_tree_makes_it():
    node = read_option("features", "own")
    source = make(node, "features", {"data_dir": "data"})
    assert isinstance(source, OwnFeatures)
