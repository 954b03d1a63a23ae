"""Files of feature networks: safetensors, which hold numbers and text alone, and facts about the network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_bytes
from diffusion_lab.metrics.feature_network import FEATURES, FeatureNetwork

#: The largest file that is read, in bytes. Those that ship are below 1,000,000; thousands of classes take more.
LARGEST = 8 * 2**20

#: The one key of a file's metadata, for several would be written in a random order, and the hash would change.
_KEY = "diffusion_lab_feature_network"


@dataclass(frozen=True)
class FeatureFacts:
    """The facts about a network that stand in its file.

    Attributes:
        data: the class of the data module, such as MNIST.
        in_channels, image_size, num_classes: of the network.
        num_features: the length of its features.
        accuracy: the share of the test images whose class it finds, from 0 to 1.
        train_images, test_images: how many there were.
        train_hash, test_hash: of their pixels and labels, as `DataModule.fingerprint` gives them.
        command: that trained it.
    """

    data: str
    in_channels: int
    image_size: int
    num_classes: int
    num_features: int
    accuracy: float
    train_images: int
    test_images: int
    train_hash: str
    test_hash: str
    command: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape [C, H, W] of the images."""
        return (self.in_channels, self.image_size, self.image_size)


@dataclass(frozen=True)
class FeatureFile:
    """A file of a feature network, as it was read.

    Attributes:
        network: in evaluation mode, on the CPU.
        facts: about it.
        sha256: of the file, 64 hexadecimal digits.
    """

    network: FeatureNetwork
    facts: FeatureFacts
    sha256: str


def write_features(path: Path, network: FeatureNetwork, facts: FeatureFacts) -> None:
    """Write a network to a file: the same network and facts give the same bytes.

    Raises:
        LabError: naming the file, if it cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(path, save(tensors, {_KEY: json.dumps(asdict(facts), sort_keys=True)}))


def read_features(path: Path) -> FeatureFile:
    """Read the file of a network. No code in it is run, and no more memory is taken than the file has bytes.

    Raises:
        LabError: naming the file, if it is missing, too large, damaged or of another kind.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise LabError(f"cannot read the feature network {path}: {error.strerror}") from error
    if len(content) > LARGEST:
        raise LabError(f"{path} is no feature network: it has more than {LARGEST:,} bytes")
    try:
        facts = _facts(content)
        tensors = load(content)
        with torch.device("meta"):  # the file, not its facts, says how much memory there is to take
            network = FeatureNetwork(facts.in_channels, facts.image_size, facts.num_classes)
        _check_tensors(tensors, network)
        network.load_state_dict(tensors, assign=True)
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        raise LabError(f"{path} is damaged, or no feature network of this version: {text}") from error
    network.requires_grad_(False).to(memory_format=torch.channels_last)
    return FeatureFile(network.eval(), facts, hashlib.sha256(content).hexdigest())


def _facts(content: bytes) -> FeatureFacts:
    """Read the facts from the header: eight bytes with its length, then JSON."""
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= len(content) - 8:
        raise ValueError("its header is not that of a safetensors file")
    header = json.loads(content[8 : 8 + size].decode())
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise ValueError(f"its metadata lacks {_KEY}")
    values = json.loads(metadata[_KEY])
    kinds: dict[str, Any] = {"int": int, "float": float, "str": str}
    expected = {field.name: kinds[str(field.type)] for field in fields(FeatureFacts)}
    if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != expected:
        raise ValueError(f"its metadata must be {', '.join(expected)}")
    facts = FeatureFacts(**values)
    numbers = (facts.in_channels, facts.image_size, facts.num_classes, facts.train_images, facts.test_images)
    if not (0 <= facts.accuracy <= 1 and all(1 <= number < 2**31 for number in numbers)):
        raise ValueError("a number in its metadata is out of its range")
    if facts.num_features != FEATURES:
        raise ValueError(f"it has {facts.num_features} features instead of {FEATURES}")
    return facts


def _check_tensors(tensors: dict[str, torch.Tensor], network: FeatureNetwork) -> None:
    expected = network.state_dict()
    if tensors.keys() != expected.keys():
        names = sorted(tensors.keys() ^ expected.keys())
        raise ValueError(f"it lacks, or has too many, tensors: {', '.join(names)}")
    for name, wanted in expected.items():  # in their order, which a file of safetensors does not keep
        tensor = tensors[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            wants = f"{list(wanted.shape)} {wanted.dtype}"
            raise ValueError(f"{name} is {list(tensor.shape)} {tensor.dtype} instead of {wants}")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} has values that are not finite")
