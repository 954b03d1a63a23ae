"""The absorbing process: a destroyed token becomes [MASK] (D3PM, Austin et al. 2021; MDLM, Sahoo et al. 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.distributions import Categorical, Distribution
from diffusion_lab.noise import Noise
from diffusion_lab.processes.base import per_sample
from diffusion_lab.processes.discrete_process import DiscreteProcess, TokenPrediction
from diffusion_lab.processes.prediction import Prediction
from diffusion_lab.schedules import RateSchedule


class Absorbing(DiscreteProcess):
    """Destroyed positions hold the mask, which is state V, after the tokens.

    Args:
        schedule, vocab_size: see `DiscreteProcess`.
    """

    mask: int

    def __init__(self, schedule: RateSchedule, vocab_size: int) -> None:
        super().__init__(schedule, vocab_size)
        self.mask = vocab_size
        self.num_states = vocab_size + 1

    @property
    def limit(self) -> Tensor:
        return functional.one_hot(torch.tensor(self.mask), self.num_states).double()

    def destroyed(self, u: Tensor) -> Tensor:
        return torch.full_like(u, self.mask, dtype=torch.int64)

    def bound_rate(self, prediction: TokenPrediction, z0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return −α'/(1 − α) times the cross-entropy at masks (MDLM, eq. 10), which is 1/t for α = 1 − t; else 0."""
        weight = per_sample(-self.schedule.d_survival(t) / self.schedule.gone(t), z_t)
        masked = z_t == self.mask
        # Where `gone` is 0 in floating point the weight is not finite, and nothing is masked.
        return torch.where(masked, weight, 0) * torch.where(masked, prediction.nll(z0), 0)

    def log_scores_of(self, prediction: Prediction, z_t: Tensor, t: Tensor) -> Tensor:
        """Return log p(y) − log(e^σ − 1) at masks, with σ the total rate (SEDD, eq. 20); what is open has no scores."""
        scores = prediction.x0.double() + per_sample(self.schedule.log_snr(t), z_t)[..., None]
        return torch.where((z_t == self.mask)[..., None], scores, -torch.inf)

    def scores_of_raw(self, raw: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return raw − log(e^σ − 1) − log V at masks (SEDD, appendix C); what is open has no scores."""
        scores = raw + per_sample(self.schedule.log_snr(t) - math.log(self.vocab_size), raw)
        return torch.where((z_t == self.mask)[..., None], scores, -torch.inf)

    def x0_of(self, log_scores: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        open_ = functional.one_hot(z_t, self.num_states)[..., : self.mask].to(log_scores).log()
        masked = (z_t == self.mask)[..., None]
        return torch.where(masked, torch.where(masked, log_scores, 0).log_softmax(-1), open_)

    def jump_rate(self, z_t: Tensor) -> Tensor:
        """Return 1 at masks, which every token becomes; 0 elsewhere."""
        return (z_t == self.mask).double()

    def posterior(self, z_t: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Unmasking:
        """Return q(z_s | z_t, z0): tokens stay, masks open with probability (α_s − α_t) / (1 − α_t) (MDLM, eq. 7)."""
        at_s, at_t = self.schedule.gone(s), self.schedule.gone(t)
        share = torch.where(at_t > 0, (at_t - at_s) / at_t, 0)
        return Unmasking(z_t, prediction, per_sample(share, z_t).expand(z_t.shape), self.mask)


@dataclass(frozen=True)
class Unmasking(Distribution):
    """Each masked position opens with a probability, to a token of the prediction.

    Attributes:
        z_t: [B, *D] int64 the state.
        prediction: of the clean tokens.
        share: [B, *D] float64 the probability of opening.
        mask: the state of a masked position.
    """

    z_t: Tensor
    prediction: Prediction
    share: Tensor
    mask: int

    @property
    def log_probs(self) -> Tensor:
        """[B, *D, V + 1] float64, as `Categorical` has it."""
        tokens = self.prediction.x0 + self.share.log()[..., None]
        opened = torch.cat([tokens, (1 - self.share).log()[..., None]], dim=-1)
        stays = functional.one_hot(self.z_t, self.mask + 1).log()
        return torch.where((self.z_t == self.mask)[..., None], opened, stays)

    def sample(self, noise: Noise) -> Tensor:
        """Draw [B, *D] int64."""
        opens = (self.z_t == self.mask) & (noise.at("opens").uniform(self.z_t.shape[1:]) < self.share)
        tokens = Categorical(self.prediction.x0).sample(noise.at("token"))
        return torch.where(opens, tokens, self.z_t)
