"""Training of a data set's feature network, to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from diffusion_lab import console
from diffusion_lab.config.instantiate import checked_call, make_one
from diffusion_lab.config.schema import TrainFeaturesConfig
from diffusion_lab.data import DataModule
from diffusion_lab.errors import LabError
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.devices import torch_device
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.metrics.feature_training import FeatureTraining, check_trainable
from diffusion_lab.metrics.feature_weights import FeatureFacts
from diffusion_lab.metrics.own_features import kept_path, shipped, train_features
from diffusion_lab.run_folder.command_lines import shown, typed


def train_feature_network(settings: TrainFeaturesConfig, overrides: Sequence[str]) -> FeatureFacts:
    """Train a feature network, print its accuracy and the path of its file, and return the facts in the file.

    Args:
        settings: of conf/train_features.yaml.
        overrides: as they were typed, for the file's record.

    Raises:
        LabError: naming the key that does not fit, or the file, if there is one already.
    """
    silence_library_warnings()
    keep_freed_memory()
    with console.use(make_one(settings.console, "console", console.Console)):
        how = {field.name: getattr(settings, field.name) for field in fields(FeatureTraining)}
        training = checked_call(lambda: FeatureTraining(**how), "")
        parts = {"seed": settings.seed, "data_dir": settings.paths.data_dir}
        data = make_one(settings.data, "data", DataModule, parts, ("data_dir",))
        check_trainable(data)
        device = torch_device(settings.device)
        if settings.out is not None:
            _check_new(Path(settings.out))
        data.prepare_data()
        data.setup()
        path = kept_path(data, Path(settings.paths.data_dir)) if settings.out is None else Path(settings.out)
        _check_new(path)
        facts = train_features(data, training, path, typed("train_features", overrides), device)
        text = (
            f"{shown(path)}: finds the class of {facts.accuracy:.2%} of {facts.test_images:,} test images, "
            f"{path.stat().st_size:,} bytes"
        )
        if settings.out is not None or shipped(data) is not None:
            text += f"; features=own takes it with features.path={shown(path)}"
        console.current().end(path, text, accuracy=facts.accuracy, test_images=facts.test_images)
        return facts


def _check_new(path: Path) -> None:
    """Make the folder of a file that must not exist yet, for results name the network that they were measured with."""
    if path.exists():
        raise LabError(
            f"{shown(path)} exists, and results may have been measured with it: name another file with out=…, or "
            "delete it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"cannot make the folder {path.parent}: {error.strerror} (out=…)") from error
