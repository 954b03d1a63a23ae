"""Reconstruction of items that are destroyed in part, by one prediction of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import DiscreteProcess
from diffusion_lab.sampling.pipeline import Pipeline
from diffusion_lab.sampling.unmask import time_of_share

#: No state is told a time before this one: at 0 nothing is destroyed, and scores are infinite.
_EARLIEST = 1e-3


@torch.no_grad()
def reconstruct(
    pipeline: Pipeline, z0: Tensor, destroyed: Tensor, condition: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Destroy chosen positions of sequences, and predict all of them at once.

    The network is told the time at which as large a share of each sequence is destroyed. One that sees blocks is given
    the clean blocks before each, as in training.

    Args:
        pipeline: of a discrete process.
        z0: [B, *D] int64 clean tokens.
        destroyed: [B, *D] bool.
        condition: [B] the label of each; None without labels.

    Returns:
        The state [B, *D] int64, and the likeliest clean token at each position, given the state: [B, *D] int64.
    """
    process, network = pipeline.process, pipeline.network
    assert isinstance(process, DiscreteProcess)
    device = next(network.parameters()).device
    noise = Noise(torch.arange(len(z0), device=device), 0, "reconstruction")
    z0, destroyed = z0.to(device), destroyed.to(device)
    z_t = torch.where(destroyed, process.destroyed(noise.uniform(z0.shape[1:])), z0)
    share = destroyed.double().flatten(1).mean(1)
    t = time_of_share(process.schedule, share).clamp(min=_EARLIEST)
    was_training = network.training
    network.eval()
    try:
        prediction = pipeline.plain_denoiser(z_t, t, condition, z0)
    finally:
        network.train(was_training)
    return z_t.cpu(), process.clean_posterior(prediction, z_t, t).argmax(-1).cpu()
