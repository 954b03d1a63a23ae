"""Checks of sets of features, and torchmetrics' metrics as functions of features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def check_set(name: str, features: Tensor, least: int, purpose: str, kind: str = "features") -> None:
    """Refuse what is no set of features.

    Args:
        name: what the set is called in messages, such as ``generated``.
        features: meant to be [N, D] floating point.
        least: how many items `purpose` needs.
        purpose: what the features are for, such as ``the Fréchet distance``.
        kind: what they are called in messages; ``logits``, if they are a classifier's.

    Raises:
        ValueError: in one line, if they have another shape or type, are too few, or are not finite.
    """
    if features.ndim != 2 or not features.is_floating_point() or not features.shape[1]:
        shape = "×".join(map(str, features.shape))
        raise ValueError(f"{name} {kind} must be floating point of shape [N, D], got {shape} {features.dtype}")
    if len(features) < least:
        raise ValueError(f"{purpose} needs at least {least} {name} items, got {len(features)}")
    bad = (~features.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"{name} {kind} must be finite: {len(bad)} of {len(features)} items hold NaN or infinity, "
            f"the first of them item {bad[0]}"
        )


def check_real(real: Tensor, least: int, purpose: str) -> None:
    """Refuse what is no set of features of real items: see `check_set`; and real items that all have the same ones."""
    check_set("real", real, least, purpose)
    if (real == real[0]).all():
        raise ValueError(f"all {len(real)} real items have the same features: the extractor does not tell them apart")


def check_pair(real: Tensor, generated: Tensor, least: int, purpose: str) -> None:
    """Refuse two sets that cannot be compared: see `check_real`, `check_set`.

    Generated items may all be the same: a generator that has collapsed has its measures, too.
    """
    check_real(real, least, purpose)
    check_set("generated", generated, least, purpose)
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real and generated features must be of one size, got {real.shape[1]} and {generated.shape[1]}"
        )


class GivenFeatures(nn.Identity):
    """The feature network that torchmetrics asks for, where features are at hand: it returns what it is given.

    Args:
        num_features: how many features an item has; torchmetrics passes a made-up image through a network that does
            not say so.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


@contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator, from which torchmetrics draws, and give its state back at the end.

    Generators of other devices stay untouched, which `torch.manual_seed` would seed, too. Also hides torchmetrics'
    warning that some metrics keep all features in memory.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features in buffer.*")
        torch.default_generator.manual_seed(seed)
        yield
