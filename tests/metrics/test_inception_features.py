"""The standard weights were not at hand: what is tested here is a random set of weights of that architecture."""

import hashlib
import importlib.util
import sys
from types import ModuleType

import pytest
import torch

from diffusion_lab.config.instantiate import make
from diffusion_lab.config.tree import read_option
from diffusion_lab.data import Digits, ImageFolder
from diffusion_lab.errors import LabError
from diffusion_lab.metrics import inception_features
from diffusion_lab.metrics.inception_features import InceptionFeatures
from picture_folder import fill

HAS_LIBRARY = importlib.util.find_spec("torch_fidelity") is not None
needs_library = pytest.mark.skipif(not HAS_LIBRARY, reason="needs torch-fidelity (the extra inception)")


def refusal(path, data=None):
    with pytest.raises(LabError) as caught:
        InceptionFeatures(str(path)).load_extractor(Digits() if data is None else data)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_missing_file_is_named_with_where_it_is_published(tmp_path):
    line = refusal(tmp_path / "none.pth")
    assert f"features.path={tmp_path / 'none.pth'} cannot be read" in line
    assert "weights-inception-2015-12-05-6726825d.pth" in line


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert f"features.path={path} is damaged" in refusal(path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").write_text, ("x",))

    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": Bomb()}, path)
    assert "holds more than tensors: it was not loaded" in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_other_things_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save([torch.ones(3)], path)
    assert "does not hold the weights of FID's Inception-v3" in refusal(path)


def test_images_must_be_grey_or_rgb(tmp_path):
    class FourChannels(Digits):
        channels = 4

    assert "images in grey or RGB, which data=FourChannels does not have" in refusal(tmp_path, FourChannels())


@pytest.mark.skipif(HAS_LIBRARY, reason="torch-fidelity is installed")
def test_without_the_library_the_line_says_how_to_get_it(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.ones(3)}, path)
    assert "pip install 'diffusion-lab[inception]'" in refusal(path)


@pytest.fixture
def stand_in(monkeypatch):
    """In the place of torch-fidelity: its features are the pixels, and it keeps the images that it is given."""

    class StandIn(torch.nn.Module):
        def __init__(self, name, features_list, file):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.load(file, weights_only=True)["bias"])

        def forward(self, images):
            self.images = images
            return images.flatten(1).float(), images[:, 0, 0, :2].float()

    package, module = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = StandIn
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_network_is_given_the_bytes_of_images_in_three_colours(stand_in, tmp_path):
    """Grey ones are repeated, and those in colour are taken as they are."""
    path = tmp_path / "weights.pth"
    torch.save({"bias": torch.ones(2)}, path)
    for data in (Digits(), ImageFolder(str(fill(tmp_path / "rgb", {".": 3})), image_size=16, classes=[], workers=0)):
        extractor = InceptionFeatures(str(path)).load_extractor(data)
        stored = torch.arange(256 * data.channels).reshape(1, data.channels, 16, 16).to(torch.uint8)
        extractor(data.to_batch(stored))
        given = extractor.network.inception.images
        assert given.dtype == torch.uint8
        assert torch.equal(given, stored.repeat(1, 3 // data.channels, 1, 1))


def test_the_file_of_the_standard_weights_is_known_by_its_hash(stand_in, monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"bias": torch.ones(2)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert inception_features.STANDARD_URL.endswith(f"-{inception_features.STANDARD}.pth")
    found = InceptionFeatures(str(path)).load_extractor(Digits())
    assert (found.name, found.weights_hash) == ("inception (other weights)", sha256)
    assert (found.num_features, found.num_classes, found.accuracy, found.shape) == (2048, 1008, None, (1, 16, 16))
    monkeypatch.setattr(inception_features, "STANDARD", sha256[:8])
    assert InceptionFeatures(str(path)).load_extractor(Digits()).label == f"inception@{sha256[:8]}"


def test_weights_that_the_library_does_not_take_are_named_with_the_beginning_of_its_words(
    stand_in, monkeypatch, tmp_path
):
    class Refusing:
        def __init__(self, *_):
            raise RuntimeError("size\nmismatch" + "!" * 400)

    library = sys.modules["torch_fidelity.feature_extractor_inceptionv3"]
    monkeypatch.setattr(library, "FeatureExtractorInceptionV3", Refusing)
    path = tmp_path / "weights.pth"
    torch.save({"bias": torch.ones(2)}, path)
    told = "size mismatch" + "!" * 187
    assert refusal(path) == f"features.path={path} does not hold the weights of FID's Inception-v3: {told}"


def test_a_file_that_is_too_large_is_not_taken_for_a_damaged_one(monkeypatch, tmp_path):
    monkeypatch.setattr(inception_features, "_LARGEST", 2000)
    path = tmp_path / "weights.pth"
    path.write_bytes(bytes(2001))
    assert refusal(path) == f"features.path={path} is no file of Inception weights: it has more than 2,000 bytes"
    path.write_bytes(bytes(2000))
    assert f"features.path={path} is damaged" in refusal(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of the architecture, scaled so that they neither vanish nor explode."""
    from torch_fidelity import feature_extractor_inceptionv3 as library

    class Uninitialized(library.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict):
            pass

    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save({}, path)
    network = Uninitialized("inception", ["2048"], str(path))
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


@needs_library
def test_weights_are_loaded_from_the_file_and_images_are_replicated_to_rgb(weights):
    data = Digits(image_size=32)
    data.setup()
    extractor = InceptionFeatures(str(weights)).load_extractor(data)
    assert extractor.name == "inception (other weights)"
    assert extractor.weights_hash == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (extractor.num_features, extractor.num_classes, extractor.accuracy) == (2048, 1008, None)
    images, _ = data.split("test", 2)
    features, logits = extractor(images, batch_size=1)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    library = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(weights))
    expected, scores = library(data.test.data[:2].repeat(1, 3, 1, 1))
    assert torch.allclose(features, expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(logits, scores, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected[0], expected[1], rtol=1e-3)


@needs_library
def test_images_in_colour_are_taken_as_they_are(weights, tmp_path):
    data = ImageFolder(str(fill(tmp_path, {".": 3})), image_size=8, classes=[], workers=0)
    extractor = InceptionFeatures(str(weights)).load_extractor(data)
    features, _ = extractor(data.split("train")[0][:1])
    assert features.shape == (1, 2048)


@needs_library
def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    assert "does not hold the weights of FID's Inception-v3" in refusal(path)


def test_the_option_of_the_config_tree_makes_it():
    node = read_option("features", "inception") | {"path": "weights.pth"}
    source = make(node, "features", {"data_dir": "data"})
    assert isinstance(source, InceptionFeatures)


def test_the_file_must_be_named():
    with pytest.raises(LabError, match=r"^features\.path must be given: it has no default$"):
        make(read_option("features", "inception"), "features", {})
