"""The substitution parameterization, SUBS, of masked diffusion (Sahoo et al. 2024, MDLM, section 3.2.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.parameterizations.base import Parameterization
from diffusion_lab.processes import Absorbing, TokenPrediction


class Substitution(Parameterization):
    """The raw output [B, *D, V] are the logits of the clean token, of which the mask is none; open tokens are copied.

    Args:
        process: the absorbing process.
    """

    process: Absorbing

    def __init__(self, process: Absorbing) -> None:
        super().__init__(process)

    def provides(self) -> dict[str, Any]:
        return {"num_outputs": self.process.vocab_size}

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> SubstitutionPrediction:
        return SubstitutionPrediction(raw, z_t, self.process.mask)


@dataclass(frozen=True)
class SubstitutionPrediction(TokenPrediction):
    """Logits [B, *D, V] of the masked positions of a state z_t [B, *D]; the others are known."""

    raw: Tensor
    z_t: Tensor
    mask: int

    @property
    def x0(self) -> Tensor:
        known = functional.one_hot(self.z_t, self.mask + 1)[..., : self.mask].to(self.raw).log()
        return torch.where((self.z_t == self.mask)[..., None], self.raw.log_softmax(-1), known)

    def last(self, count: int) -> SubstitutionPrediction:
        return replace(self, raw=self.raw[:, -count:], z_t=self.z_t[:, -count:])

    def nll(self, z0: Tensor) -> Tensor:
        """Return [B, *D]; 0 where the state shows the token, and infinite where it shows another one."""
        masked = self.z_t == self.mask
        of_masked = functional.cross_entropy(self.raw.float().flatten(0, -2), z0.flatten(), reduction="none")
        known = torch.where(self.z_t == z0, 0.0, torch.inf).to(of_masked)
        return torch.where(masked, of_masked.view_as(z0), known)
