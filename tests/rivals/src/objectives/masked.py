"""Cross entropy at the masked positions, weighted by 1/t (Sahoo et al. 2024, eq. 11 for the linear schedule)."""

import torch
from diffusion_lab.parameterizations.copying import Copying
from diffusion_lab.processes.erasing import Erasing

from diffusion_lab.objectives import Objective


class Masked(Objective):
    units = {"loss": "nats per token", "accuracy": "share of masked tokens"}  # noqa: RUF012

    def __init__(self, process: Erasing, parameterization: Copying) -> None:
        self.process = process

    def __call__(self, denoiser, z0, t, noise, condition=None):
        noised = self.process.sample(z0, t, noise.at("noise"))
        log_probs, masked = denoiser(noised.z_t, t, condition).x0, noised.z_t == self.process.mask
        nll = -log_probs.gather(-1, z0[..., None])[..., 0]
        loss = torch.where(masked, nll, 0).mean(1) / t.to(nll)
        right = ((log_probs.argmax(-1) == z0) & masked).sum(1) / masked.sum(1).clamp(min=1)
        return {"loss": loss.float(), "accuracy": right.float()}
