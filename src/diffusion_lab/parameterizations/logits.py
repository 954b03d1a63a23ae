"""Logits of the clean tokens (Austin et al. 2021, D3PM, section 3.3)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffusion_lab.parameterizations.base import Parameterization
from diffusion_lab.processes import DiscreteProcess, TokenLogProbs


class Logits(Parameterization):
    """The raw output [B, *D, V] are the logits of the clean token at each position, whatever the state shows there.

    Args:
        process: a discrete process.
    """

    process: DiscreteProcess

    def __init__(self, process: DiscreteProcess) -> None:
        super().__init__(process)

    def provides(self) -> dict[str, Any]:
        return {"num_outputs": self.process.vocab_size}

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> TokenLogProbs:
        return TokenLogProbs(raw.float().log_softmax(-1))
