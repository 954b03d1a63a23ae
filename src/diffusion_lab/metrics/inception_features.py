"""Inception-v3 features, with which FID is defined (Heusel et al. 2017), from the standard weights on the user's disk.

The architecture is that of the package torch-fidelity, which computes what the original TensorFlow graph does: images
are resized to 299×299 as TensorFlow 1 did, and grey ones are repeated in the three colours. Not run with the standard
file, which could not be had: tests load random weights of the architecture, and compare with torch-fidelity itself.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_lab.data import DataModule, ImageDataModule
from diffusion_lab.errors import LabError
from diffusion_lab.metrics.extractor import Extractor, FeatureSource

#: The first digits of the SHA-256 of the standard file, as the end of its name gives them, and where it is.
STANDARD = "6726825d"
STANDARD_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)

#: The largest file that is read, in bytes; the standard one has 95 million.
_LARGEST = 256 * 2**20

_FEATURES, _CLASSES = 2048, 1008


class InceptionFeatures(FeatureSource):
    """The last hidden layer of Inception-v3, 2,048 features, and the logits of its 1,008 classes, without their bias.

    Needs the extra ``inception`` (torch-fidelity). Nothing is downloaded.

    Args:
        path: the file of the weights, as torch-fidelity and pytorch-fid use it. Others are taken, too, if they fit
            the architecture, and then the extractor is called ``inception (other weights)``.
    """

    def __init__(self, path: str) -> None:
        self.path: Path = Path(path).expanduser()

    def load_extractor(self, data: DataModule, device: torch.device | None = None) -> Extractor:
        if not isinstance(data, ImageDataModule) or data.channels not in (1, 3):
            raise LabError(
                f"features=inception is for images in grey or RGB, which data={type(data).__name__} does not have"
            )
        weights, sha256 = _read(self.path)
        network = _Inception(weights, self.path).to(device)
        return Extractor(
            name="inception" if sha256.startswith(STANDARD) else "inception (other weights)",
            weights_hash=sha256,
            num_features=_FEATURES,
            num_classes=_CLASSES,
            accuracy=None,
            shape=data.shape,
            network=network,
        )


class _Inception(nn.Module):
    def __init__(self, weights: dict[str, Tensor], path: Path) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise LabError("features=inception needs torch-fidelity: pip install 'diffusion-lab[inception]'") from error
        super().__init__()
        # The package unpickles the file that it is given, so it is given one that was written here.
        checked = io.BytesIO()
        torch.save(weights, checked)
        checked.seek(0)
        names: Any = ["2048", "logits_unbiased"]
        try:
            self.inception = FeatureExtractorInceptionV3("inception", names, checked)
        except RuntimeError as error:
            text = " ".join(str(error).split())[:200]
            raise LabError(f"features.path={path} does not hold the weights of FID's Inception-v3: {text}") from error

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [n, 2048] and logits [n, 1008] of images [n, 1 or 3, H, W] in [−1, 1]."""
        colours = ((images + 1) * 127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
        features, logits = self.inception(colours)
        return features, logits


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the weights in a file by their names, and its SHA-256; no code in the file is run."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise LabError(
            f"features.path={path} cannot be read ({error.strerror}): it must be the file of FID's Inception weights, "
            f"{STANDARD_URL}"
        ) from error
    if len(content) > _LARGEST:
        raise LabError(f"features.path={path} is no file of Inception weights: it has more than {_LARGEST:,} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other programs, which are refused below
            weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LabError(f"features.path={path} is damaged, or holds more than tensors: it was not loaded") from error
    except Exception as error:  # a damaged file can fail anywhere in the reader
        text = " ".join(str(error).split())[:160]
        raise LabError(f"features.path={path} is damaged or not a file of weights: {text}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise LabError(
            f"features.path={path} does not hold the weights of FID's Inception-v3: it is no mapping of them"
        )
    return weights, hashlib.sha256(content).hexdigest()
