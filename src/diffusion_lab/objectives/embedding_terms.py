"""Diffusion of learned embeddings, trained end to end (Li et al. 2022, Diffusion-LM, section 4.1 and appendix E)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_lab.codecs import TokenEmbedding
from diffusion_lab.distributions import Normal
from diffusion_lab.noise import Noise
from diffusion_lab.objectives.base import Objective, squared_error
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.parameterizations.x0 import X0
from diffusion_lab.processes import Gaussian, per_sample


class EmbeddingTerms(Objective):
    """The three terms of Diffusion-LM; ``loss`` is their sum, and the embedding has gradients from all of them.

    - ``mse``: ‖x0 − f(z_t, t)‖², the mean over dimensions, with x0 ~ N(E(w), noise²) of the codec; at the first of T
      steps ‖E(w) − f‖², since f is then the last word on the tokens. In continuous time there is no first step.
    - ``rounding``: −log p(w | x0) by the codec's head, in nats per token. It reads the codes that are diffused, and not
      those that are predicted, with which all vectors would become alike.
    - ``end``: ‖alpha(1) x0‖², the mean over dimensions: what is left of the codes where the prior has none.

    Args:
        process: a Gaussian process.
        parameterization: predicts the data itself.
        codec: with vectors to learn.
    """

    units: ClassVar[Mapping[str, str]] = {
        "loss": "mean squared errors + nats per token",
        "mse": "mean squared error",
        "rounding": "nats per token",
        "end": "mean square",
    }
    trains_codec = True

    def __init__(self, process: Gaussian, parameterization: X0, codec: TokenEmbedding) -> None:
        self.process = process
        self.codec = codec

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, t: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        schedule = self.process.schedule
        tokens = self.codec.decode(z0)
        x0 = z0 + self.codec.noise * noise.at("codes").normal(z0.shape[1:]).to(z0)
        z_t = self.process.sample(x0, t, noise.at("noise")).z_t
        first = t < 1.5 / schedule.steps if schedule.steps else torch.zeros_like(t, dtype=torch.bool)
        target = torch.where(first[:, None, None], z0, x0)
        mse = squared_error(denoiser.raw(z_t, t, condition), target).flatten(1).mean(1)
        read = self.codec.log_likelihood(tokens, Normal(x0, torch.zeros_like(x0)))
        rounding = -read / tokens.shape[1]
        left = per_sample(schedule.alpha(torch.ones_like(t)), x0) * x0
        end = left.float().square().flatten(1).mean(1)
        return {"loss": mse + rounding + end, "mse": mse, "rounding": rounding, "end": end}
