"""The evidence lower bound of discrete diffusion, with any process (D3PM, MDLM, UDLM, LLaDA, BD3LM)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.objectives.base import Objective
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.processes import DiscreteProcess, TokenPrediction, position_times


class TokenBound(Objective):
    """The negative evidence lower bound in nats per token, for one time of each sample, without the prior's term.

    ``loss`` is `DiscreteProcess.bound`: MDLM's weighted cross-entropy for masks (Sahoo et al. 2024, eq. 10), of which
    LLaDA's (Nie et al. 2025, eq. 3) is the case α = 1 − t; UDLM's for uniform tokens (Schiff et al. 2024, eq. 19); and
    D3PM's (Austin et al. 2021, eq. 1) for either with T steps. With `cross_entropy`, ``bound`` and ``nll``, the
    cross-entropy of the clean tokens, are logged as well.

    For a network that sees blocks it is the bound of block diffusion (Arriola et al. 2025, BD3LM, eq. 8): each block is
    destroyed by a time of its own, and predicted given the clean blocks before it. A single block is MDLM again, and
    blocks of one position have the cross-entropy of an autoregressive model, in the mean over their times.

    Args:
        process: destroys the tokens.
        cross_entropy: the factor λ of ``nll`` in the loss, which is a bound no longer (D3PM, eq. 5); 0 for the bound.

    Raises:
        ValueError: if the factor is negative or not finite.
    """

    units: ClassVar[Mapping[str, str]] = {"loss": "nats per token", "bound": "nats per token", "nll": "nats per token"}
    needs_uniform_times = True
    by_blocks = True

    def __init__(self, process: DiscreteProcess, cross_entropy: float = 0.0) -> None:
        if not 0 <= cross_entropy < math.inf:
            raise ValueError(f"objective.cross_entropy must be 0 or more and finite, got {cross_entropy}")
        self.process = process
        self.cross_entropy = cross_entropy

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, t: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        t = position_times(t, denoiser.block_size, z0, self.process.schedule.steps, noise.at("blocks"))
        z_t = self.process.sample(z0, t, noise.at("noise")).z_t
        prediction = denoiser(z_t, t, condition, z0)
        assert isinstance(prediction, TokenPrediction)
        bound = self.process.bound(prediction, z0, z_t, t)
        if not self.cross_entropy:
            return {"loss": bound}
        nll = prediction.nll(z0).flatten(1).mean(1)
        return {"loss": bound + self.cross_entropy * nll, "bound": bound, "nll": nll}
