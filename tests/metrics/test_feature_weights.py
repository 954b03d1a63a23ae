import hashlib
import json
import pickle
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from diffusion_lab.errors import LabError
from diffusion_lab.metrics.feature_network import seeded_network
from diffusion_lab.metrics.feature_weights import LARGEST, FeatureFacts, read_features, write_features

KEY = "diffusion_lab_feature_network"
FACTS = FeatureFacts(
    data="Digits",
    in_channels=1,
    image_size=8,
    num_classes=10,
    num_features=96,
    accuracy=0.5,
    train_images=1437,
    test_images=180,
    train_hash="0" * 32,
    test_hash="1" * 32,
    command="python scripts/train_features.py data=digits",
)


@pytest.fixture(scope="module")
def network():
    return seeded_network(1, 8, 10, seed=0).eval()


@pytest.fixture
def file(tmp_path, network):
    path = tmp_path / "digits.safetensors"
    write_features(path, network, FACTS)
    return path


def refusal(path):
    with pytest.raises(LabError) as caught:
        read_features(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def test_a_network_is_read_as_it_was_written(file, network):
    found = read_features(file)
    images, before = torch.rand(3, 1, 8, 8), network.state_dict()
    assert found.facts == FACTS
    assert not found.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in found.network.state_dict().items())
    assert torch.allclose(found.network(images)[0], network(images)[0], atol=1e-5)
    assert not any(parameter.requires_grad for parameter in found.network.parameters())


def test_the_hash_is_that_of_the_file(file):
    assert read_features(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_same_network_and_facts_give_the_same_bytes(file, network, tmp_path):
    for number in range(5):
        write_features(tmp_path / f"{number}.safetensors", network, FACTS)
        assert (tmp_path / f"{number}.safetensors").read_bytes() == file.read_bytes()


def test_other_programs_read_the_file_and_what_it_says(file):
    with safe_open(file, "pt") as other:
        assert json.loads(other.metadata()[KEY]) == asdict(FACTS)
        assert other.get_tensor("head.weight").shape == (10, 96)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 5000, -1])
def test_a_file_that_ends_early_is_named_in_one_line(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    assert "is damaged, or no feature network of this version" in refusal(file)


@pytest.mark.parametrize("content", [b"\xff" * 400, b"{}" * 300, pickle.dumps({"a": 1}) * 20, bytes(8) + b"{}"])
def test_foreign_bytes_are_named_in_one_line(file, content):
    file.write_bytes(content)
    assert "is damaged, or no feature network of this version" in refusal(file)


def test_a_missing_file_is_named(tmp_path):
    assert "cannot read the feature network" in refusal(tmp_path / "none.safetensors")


def test_a_pickle_is_not_run(file, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").write_text, ("x",))

    torch.save({"head.weight": Bomb()}, file)
    refusal(file)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_more_bytes_than_any_network_is_not_read(file):
    with file.open("r+b") as opened:
        opened.truncate(LARGEST + 1)
    assert f"it has more than {LARGEST:,} bytes" in refusal(file)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"accuracy": 1.5}, "out of its range"),
        ({"accuracy": "0.5"}, "its metadata must be"),
        ({"in_channels": 2**40}, "out of its range"),
        ({"in_channels": 3}, "body.0.0.weight is [24, 1, 5, 5]"),
        ({"image_size": 2**30}, "it lacks, or has too many, tensors"),
        ({"num_classes": 1}, "num_classes of at least 2"),
        ({"num_classes": 2**30}, "head.weight is [10, 96]"),
        ({"num_features": 64}, "64 features instead of 96"),
        ({"data": None}, "its metadata must be"),
        ({"train_images": True}, "its metadata must be"),
    ],
)
def test_facts_that_do_not_fit_the_weights_are_refused(file, network, changes, says):
    facts = asdict(FACTS) | changes
    file.write_bytes(save(network.state_dict(), {KEY: json.dumps(facts)}))
    assert says in refusal(file)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (None, f"its metadata lacks {KEY}"),
        ({"format": "pt"}, f"its metadata lacks {KEY}"),
        ({KEY: "[1]"}, "its metadata must be"),
        ({KEY: "{"}, "Expecting property name"),
        ({KEY: "[" * 100_000}, "recursion depth"),
    ],
)
def test_a_file_of_weights_without_facts_is_refused(file, network, metadata, says):
    file.write_bytes(save(network.state_dict(), metadata))
    assert says in refusal(file)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(file, number):
    tensors = load(file.read_bytes())
    tensors["head.weight"][3, 4] = number
    file.write_bytes(save(tensors, {KEY: json.dumps(asdict(FACTS))}))
    assert "head.weight has values that are not finite" in refusal(file)


def test_weights_of_another_type_are_refused(file):
    tensors = load(file.read_bytes())
    tensors["head.weight"] = tensors["head.weight"].double()
    file.write_bytes(save(tensors, {KEY: json.dumps(asdict(FACTS))}))
    assert "torch.float64 instead of [10, 96] torch.float32" in refusal(file)


def test_a_folder_that_is_not_there_is_named(tmp_path, network):
    with pytest.raises(LabError, match=r"cannot write .*none/a\.safetensors"):
        write_features(tmp_path / "none" / "a.safetensors", network, replace(FACTS, accuracy=0.1))


def test_what_is_wrong_is_told_in_200_characters(file, network):
    file.write_bytes(save(network.state_dict() | {"x" * 300: torch.zeros(1)}, {KEY: json.dumps(asdict(FACTS))}))
    told = refusal(file).partition("of this version: ")[2]
    assert told == ("it lacks, or has too many, tensors: " + "x" * 300)[:200]


def test_a_header_may_take_the_whole_file(file):
    file.write_bytes(save({}, {KEY: json.dumps(asdict(FACTS))}))
    assert "it lacks, or has too many, tensors" in refusal(file)


@pytest.mark.parametrize(
    ("size", "content", "says"),
    [
        (2, b"{}", f"its metadata lacks {KEY}"),
        (3, b"{}", "its header is not that of a safetensors file"),
        (1, b"{}", "its header is not that of a safetensors file"),
        (2, b"[]", f"its metadata lacks {KEY}"),
    ],
)
def test_a_header_has_two_bytes_at_least_and_no_more_than_the_file(file, size, content, says):
    file.write_bytes(size.to_bytes(8, "little") + content)
    assert says in refusal(file)


@pytest.mark.parametrize("key", ["in_channels", "image_size", "num_classes", "train_images", "test_images"])
@pytest.mark.parametrize("number", [0, 2**31])
def test_each_number_of_the_facts_has_a_range(file, network, key, number):
    file.write_bytes(save(network.state_dict(), {KEY: json.dumps(asdict(FACTS) | {key: number})}))
    assert "a number in its metadata is out of its range" in refusal(file)


@pytest.mark.parametrize(
    "changes", [{"accuracy": 0.0}, {"accuracy": 1.0}, {"train_images": 1, "test_images": 2**31 - 1}]
)
def test_the_edges_of_the_facts_are_within_their_range(file, network, changes):
    write_features(file, network, replace(FACTS, **changes))
    assert read_features(file).facts == replace(FACTS, **changes)


def test_a_file_of_the_largest_size_is_looked_into(file):
    with file.open("r+b") as opened:
        opened.truncate(LARGEST)
    assert "is damaged, or no feature network of this version" in refusal(file)
