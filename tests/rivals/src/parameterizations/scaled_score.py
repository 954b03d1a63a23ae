"""Score prediction, times sigma: raw = sigma · score = −eps (Song & Ermon 2019)."""

from diffusion_lab.parameterizations import GaussianPrediction, Regression
from diffusion_lab.processes import Gaussian


class ScaledScore(Regression):
    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)

    def prediction(self, raw, z_t, t):
        return GaussianPrediction.of(self.process, z_t, t, -raw, "eps")

    def target(self, noised):
        return -noised.eps
