"""A subject of evaluations whose samples are given. No test."""

from types import SimpleNamespace

import torch

from diffusion_lab.evaluation import Samples


class GivenSamples:
    """Digits of 16×16 pixels, and one set of samples for each sampling seed.

    Args:
        data: the real images.
        sets: pairs of samples [N, 1, 16, 16] and their labels [N], or None.
    """

    bar = False
    device = torch.device("cpu")

    def __init__(self, data, *sets):
        self.data = data
        self.sets = sets
        self.pipeline = SimpleNamespace(labels=None if sets[0][1] is None else 10)

    def draws(self, num_samples=None, seeds=1):
        assert seeds <= len(self.sets)
        return [
            Samples(items[:num_samples], None if labels is None else labels[:num_samples], 7.0)
            for items, labels in self.sets[:seeds]
        ]
