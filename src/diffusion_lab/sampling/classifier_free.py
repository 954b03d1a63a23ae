"""Classifier-free guidance (Ho & Salimans 2022), in an interval (Kynkäänniemi et al. 2024), with rescaling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diffusion_lab.errors import LabError
from diffusion_lab.parameterizations import block_size, condition_kind
from diffusion_lab.processes import DiscreteProcess, Gaussian, Prediction, Process, per_sample
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform


class ClassifierFree(DenoiserTransform):
    """x0 = u + scale (c − u), where c is the data predicted with the label or the prompt and u that without.

    Two evaluations of the network for each sample, where it guides. Noise, v and score change by the same rule, since
    each is the data times a factor plus a part that does not depend on the label. Without a prompt means with its
    tokens masked (Nie et al. 2025, LLaDA, appendix A.3), which a network for masks has learned with all the others, but
    for one that sees blocks, which knows no masks before a block.

    Args:
        process: any; of tokens, logarithms of probabilities are guided.
        network: takes labels, and was trained with some of them left out; or is for masks, and takes a prompt.
        num_classes: how many labels there are; this number is the null label.
        scale: w: 0 for no label, 1 for the label alone (no guidance, one evaluation), above 1 for more of it. Some
            libraries call w − 1 the scale.
        min_log_snr, max_log_snr: guide only where the log-SNR lies between these; for tokens that is the logit of
            the share that survives.
        rescale: how far the guided data is brought to the standard deviation of c, from 0 to 1 (Lin et al. 2023,
            section 3.4), which guidance with a large scale raises.

    Raises:
        ValueError: naming the key, if the network does not go with guidance or an argument is out of its range.
    """

    def __init__(
        self,
        process: Process,
        network: nn.Module,
        num_classes: int | None,
        scale: float = 2.0,
        min_log_snr: float = -math.inf,
        max_log_snr: float = math.inf,
        rescale: float = 0.0,
    ) -> None:
        labelled = condition_kind(network) == "label" and num_classes is not None
        self.hides = isinstance(process, DiscreteProcess) and process.mask is not None and block_size(network) is None
        if not labelled and not self.hides:
            raise ValueError(
                f"guidance=cfg needs a network that takes labels, and {type(network).__name__} takes none "
                "(network=unet network.labels=true does)"
            )
        if labelled and not getattr(network, "condition_dropout", 0.0) > 0:
            raise ValueError(
                "guidance=cfg needs a network that was trained without some labels: take "
                "network.condition_dropout above 0"
            )
        if not 0 <= scale < math.inf:
            raise ValueError(f"guidance.scale must be 0 or more and finite, got {scale}")
        if not min_log_snr < max_log_snr:
            raise ValueError(f"guidance.min_log_snr must be below max_log_snr, got {min_log_snr} and {max_log_snr}")
        if not 0 <= rescale <= 1:
            raise ValueError(f"guidance.rescale must lie between 0 and 1, got {rescale}")
        if rescale and not isinstance(process, Gaussian):
            raise ValueError("guidance.rescale is for a Gaussian process: take guidance.rescale=0")
        self.process = process
        self.null = num_classes or 0
        self.scale = scale
        self.interval = min_log_snr, max_log_snr
        self.rescale = rescale

    @property
    def facts(self) -> dict[str, float]:
        return {"guidance": self.scale}

    def __call__(self, denoiser: DenoiserFn, constraint: Constraint | None = None) -> DenoiserFn:
        low, high = self.interval

        def guided(z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
            blank = constraint.without(z_t) if constraint is not None and self.hides else None
            if condition is None and blank is None:
                raise LabError(
                    "guidance=cfg leads towards labels (network.labels=true) or towards a prompt in place of masks "
                    "(prompt=… with process=absorbing), and there is neither: take guidance=none"
                )
            given: Prediction = denoiser(z_t, t, condition)
            log_snr = self.process.schedule.log_snr(t)
            guides = (log_snr >= low) & (log_snr <= high)
            if self.scale == 1 or not bool(guides.any()):
                return given
            null = None if condition is None else torch.full_like(condition, self.null)
            free: Prediction = denoiser(z_t if blank is None else blank, t, null)
            x0 = given.guided(free, self.scale)
            if self.rescale:
                spread = _std(x0)
                ratio = torch.where(spread > 0, _std(given.x0) / spread, 1)  # constant data has no spread
                x0 = x0 * (1 + self.rescale * (ratio - 1))
            return given.with_x0(torch.where(per_sample(guides.double(), x0) > 0, x0, given.x0))

        return guided


def _std(x: Tensor) -> Tensor:
    """Return the standard deviation of each sample, with trailing ones."""
    return x.std(dim=tuple(range(1, x.ndim)), correction=0, keepdim=True)
