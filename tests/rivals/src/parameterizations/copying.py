"""The raw output are the logits of the clean token; an open position keeps its token (MDLM, section 3.2.3)."""

from dataclasses import dataclass, replace

import torch
from diffusion_lab.processes.erasing import Erasing
from torch import Tensor

from diffusion_lab.parameterizations import Parameterization
from diffusion_lab.processes import Prediction


@dataclass(frozen=True)
class LogProbs(Prediction):
    log_probs: Tensor

    @property
    def x0(self):
        return self.log_probs

    def with_x0(self, x0):
        return replace(self, log_probs=x0)


class Copying(Parameterization):
    def __init__(self, process: Erasing) -> None:
        super().__init__(process)

    def prediction(self, raw, z_t, t):
        kept = torch.nn.functional.one_hot(z_t, self.process.mask + 1)[..., :-1].to(raw).log()
        return LogProbs(torch.where((z_t == self.process.mask)[..., None], raw.log_softmax(-1), kept))
