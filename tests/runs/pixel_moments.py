"""An evaluation that needs no feature network. No test."""

from dataclasses import dataclass

import torch

from diffusion_lab.evaluation import Evaluation, Result


@dataclass(frozen=True)
class Moments(Result):
    """The mean and the standard deviation of all pixels of all seeds."""

    mean: float
    std: float
    evaluations: float
    num_samples: int

    def as_dict(self):
        return {
            "loss": self.mean,
            "std": self.std,
            "evaluations": self.evaluations,
            "extractor": "pixels@0",
            "num_samples": self.num_samples,
            "loss_floor": 0.1,
        }

    def summary(self):
        return f"mean {self.mean:.3f}"


class PixelMoments(Evaluation):
    def __init__(self, num_samples: int | None = None, seeds: int = 1):
        self.num_samples = num_samples
        self.seeds = seeds

    def check(self, data):
        pass

    def __call__(self, subject):
        draws = subject.draws(self.num_samples, self.seeds)
        items = torch.cat([draw.items for draw in draws]).double()
        return Moments(float(items.mean()), float(items.std()), draws[0].evaluations, len(draws[0].items))


#: The entry of `evaluation` in a config.
MOMENTS = {"moments": {"_target_": f"{__name__}.PixelMoments", "num_samples": 10, "seeds": 2}}
