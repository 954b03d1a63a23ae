"""Features of a small classifier of the data set's own: shipped with the package, or trained where they are needed.

A network that is trained anew on another processor is another ruler, so those of the common data sets ship with the
package (`weights/`). Another data set has its own trained once, on its training images, and kept in the data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from diffusion_lab import console
from diffusion_lab.data import DataModule, ImageDataModule
from diffusion_lab.errors import LabError
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.metrics.extractor import Extractor, FeatureSource
from diffusion_lab.metrics.feature_training import FeatureTraining, accuracy, check_trainable, train_network
from diffusion_lab.metrics.feature_weights import FeatureFacts, FeatureFile, read_features, write_features

#: Where the networks are that ship with the package.
SHIPPED_FOLDER = Path(__file__).parent / "weights"

#: The name and the SHA-256 of each of them, by the class of the data module.
SHIPPED: Mapping[str, tuple[str, str]] = {
    "Digits": ("digits.safetensors", "f28d693faff2516d742463e8b9bb0d367dd2433d42fdeb81321db806c4eb98cb"),
    "FashionMNIST": ("fashion_mnist.safetensors", "810efd484ddb68137bb4993adb451092d5ac3bab93965b2be541d0fac041a9f3"),
    "MNIST": ("mnist.safetensors", "47b08972bcdab6ecf5f8ff7a65d5362e1f355967f3e48d31e56ce5d67dfd84c3"),
}


class OwnFeatures(FeatureSource):
    """The last hidden layer of a `FeatureNetwork`, trained on the data's real training images alone.

    A shipped network is taken for the data that it was trained for: the same class of data module, the same shape and
    the same test images, bit for bit. Images of another size are another data set: they are not resized, and have a
    network of their own. The networks of other data are kept in the folder ``features`` of the data folder, named
    after the class, the shape and the hash of the training images and labels; where there is none, it is trained.

    Args:
        data_dir: the data folder.
        path: a file that ``scripts/train_features.py`` wrote, to be taken instead; None for the above.
    """

    def __init__(self, data_dir: str, path: str | None = None) -> None:
        self.data_dir = Path(data_dir)
        self.path = None if path is None else Path(path).expanduser()

    def load_extractor(self, data: DataModule, device: torch.device | None = None) -> Extractor:
        found = _fitting(self.path, data) if self.path is not None else shipped(data) or self._kept(data, device)
        facts = found.facts
        return Extractor(
            name=f"own/{facts.data}",
            weights_hash=found.sha256,
            num_features=facts.num_features,
            num_classes=facts.num_classes,
            accuracy=facts.accuracy,
            shape=facts.shape,
            network=found.network.to(device),
        )

    def _kept(self, data: DataModule, device: torch.device | None) -> FeatureFile:
        check_trainable(data)
        path = kept_path(data, self.data_dir)
        if path.is_file():
            return _fitting(path, data)
        _make_folder(path.parent)
        lock = _wait_for(path.with_name(f".{path.stem}.lock"))
        try:
            if not path.is_file():  # another process may have trained it meanwhile
                console.current().note(f"there is no feature network for this data yet: training one, kept in {path}")
                command = "trained by features=own"
                train_features(data, FeatureTraining(), path, command, device)
            return _fitting(path, data)
        finally:
            lock.release()


def shipped(data: DataModule) -> FeatureFile | None:
    """Return the network that ships for this data, which must be there; None if there is none.

    Raises:
        LabError: if the file is not the one that was shipped.
    """
    name = type(data).__name__
    if name not in SHIPPED:
        return None
    file, sha256 = SHIPPED[name]
    path = SHIPPED_FOLDER / file
    found = read_features(path)
    if found.sha256 != sha256:
        raise LabError(f"{path} is not the file that was shipped, by its hash: install the package again")
    same = found.facts.shape == data.shape and found.facts.test_hash == data.fingerprint()["test"]
    return found if same else None


def kept_path(data: DataModule, data_dir: Path) -> Path:
    """Return where the network of data that ships with none is kept; the data must be there."""
    size = "x".join(map(str, data.shape))
    return data_dir / "features" / f"{type(data).__name__.lower()}_{size}_{data.fingerprint()['train']}.safetensors"


def train_features(
    data: DataModule, training: FeatureTraining, path: Path, command: str, device: torch.device | None = None
) -> FeatureFacts:
    """Train a network on the data's training images, measure it on its test images, and write it to `path`.

    Args:
        data: images with labels, which must be there.
        training: the settings.
        path: of the file, in a folder that exists.
        command: how this was started, for the record.
        device: where to train; None for the CPU.

    Raises:
        LabError: if the data cannot be learned from, or the file cannot be written.
    """
    network = train_network(data, training, device)
    assert isinstance(data, ImageDataModule)
    assert data.train is not None
    assert data.test is not None
    hashes = data.fingerprint()
    facts = FeatureFacts(
        data=type(data).__name__,
        in_channels=data.channels,
        image_size=data.image_size,
        num_classes=network.num_classes,
        num_features=network.head.in_features,
        accuracy=accuracy(network, data, data.test),
        train_images=len(data.train),
        test_images=len(data.test),
        train_hash=hashes["train"],
        test_hash=hashes["test"],
        command=command,
    )
    write_features(path, network, facts)
    return facts


def _fitting(path: Path, data: DataModule) -> FeatureFile:
    """Read a file and check that its network takes the images of the data."""
    found = read_features(path)
    if found.facts.shape != data.shape:
        takes, has = ("×".join(map(str, shape)) for shape in (found.facts.shape, data.shape))
        raise LabError(f"{path} is the feature network of {found.facts.data}, for images {takes}; the data's are {has}")
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"cannot make the folder {folder}: {error.strerror} (paths.data_dir=…)") from error


def _wait_for(path: Path) -> Lock:
    told = "another process trains the feature network of this data: waiting for it"
    try:
        return Lock.wait_for(path, lambda: console.current().note(told))
    except OSError as error:
        raise LabError(f"cannot write in {path.parent}: {error.strerror} (paths.data_dir=…)") from error
