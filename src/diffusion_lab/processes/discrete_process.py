"""Discrete processes that replace tokens: what all of them share (Austin et al. 2021, D3PM, section 3)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.distributions import Categorical
from diffusion_lab.noise import Noise
from diffusion_lab.processes.base import Noised, Process, per_sample
from diffusion_lab.processes.prediction import Prediction
from diffusion_lab.schedules import RateSchedule

#: Stands for the log-probability −inf where it would make infinite differences; no network's own is as low.
_LOG_ZERO = -1000.0


class TokenPrediction(Prediction):
    """The prediction of clean tokens for a state z_t [B, *D] int64."""

    def nll(self, z0: Tensor) -> Tensor:
        """Return −log of the probability of the clean tokens `z0` [B, *D] int64: [B, *D] float32, in nats."""
        return -self.x0.gather(-1, z0[..., None])[..., 0]

    def with_x0(self, x0: Tensor) -> TokenPrediction:
        return TokenLogProbs(x0)

    @property
    def untempered(self) -> TokenPrediction:
        """The prediction before a temperature or a truncation, as the network and its guidance gave it."""
        return self

    def confidence(self, tokens: Tensor) -> Tensor:
        """Return the probability [B, *D] float32 of tokens [B, *D] int64 in what is `untempered`."""
        return (-self.untempered.nll(tokens)).exp()

    @abstractmethod
    def last(self, count: int) -> TokenPrediction:
        """Return the prediction of the last `count` positions of sequences [B, L]."""

    def guided(self, free: Prediction, scale: float) -> Tensor:
        """Return log-probabilities of log û + scale (log ĉ − log û), as probabilities; −inf in log ĉ stays −inf."""
        given, without = self.x0, free.x0.clamp(min=_LOG_ZERO)
        mixed = without + scale * (given - without)
        return torch.where(given > -torch.inf, mixed, -torch.inf).log_softmax(-1)

    def log_scores(self, process: DiscreteProcess, z_t: Tensor, t: Tensor) -> Tensor:
        """Return log s_y = log p_t(y)/p_t(z_t) of tokens y in the place of each state, [B, *D, V] float64."""
        return process.log_scores_of(self, z_t, t)

    def bound_rate(self, process: DiscreteProcess, z0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return `DiscreteProcess.bound_rate` for this prediction."""
        return process.bound_rate(self, z0, z_t, t)


@dataclass(frozen=True)
class TokenLogProbs(TokenPrediction):
    """Logarithms of the probabilities of clean tokens, [B, *D, V] float32, which sum to 1 over V.

    Attributes:
        original: the prediction before a temperature or a truncation; None without these.
    """

    log_probs: Tensor
    original: TokenPrediction | None = None

    @property
    def x0(self) -> Tensor:
        return self.log_probs

    def with_x0(self, x0: Tensor) -> Self:
        return replace(self, log_probs=x0)

    @property
    def untempered(self) -> TokenPrediction:
        return self if self.original is None else self.original.untempered

    def last(self, count: int) -> TokenLogProbs:
        original = None if self.original is None else self.original.last(count)
        return TokenLogProbs(self.log_probs[:, -count:], original)


class DiscreteProcess(Process):
    """A token stays what it is until it is destroyed, at a random time; then it is a draw from a fixed distribution.

    q(z_t | z0) = survival(t) · [z_t = z0] + (1 − survival(t)) · limit(z_t), each position by itself. States are
    [B, *D] int64 in [0, num_states); clean tokens lie in [0, vocab_size).

    Args:
        schedule: how many positions survive at each time.
        vocab_size: V, the number of clean tokens; filled in from the codec.

    Attributes:
        num_states: S, the number of values of a position in a state.
        mask: the state of a position of which nothing is known; None if the process has none.
    """

    schedule: RateSchedule
    num_states: int
    mask: int | None = None

    def __init__(self, schedule: RateSchedule, vocab_size: int) -> None:
        self.schedule = schedule
        self.vocab_size = vocab_size

    @property
    def facts(self) -> dict[str, float]:
        return {"temperature": 1.0}

    @property
    @abstractmethod
    def limit(self) -> Tensor:
        """The distribution of a position that was destroyed: [S] float64."""

    @abstractmethod
    def destroyed(self, u: Tensor) -> Tensor:
        """Return the states int64 of destroyed positions, drawn by inversion from `u` float64 in [0, 1)."""

    def provides(self) -> dict[str, Any]:
        return {"num_states": self.num_states}

    def sample(self, z0: Tensor, t: Tensor, noise: Noise) -> Noised:
        survival = per_sample(self.schedule.survival(t), z0)
        u = noise.uniform(z0.shape[1:])
        survives = u < survival
        # What is left of the number is uniform again.
        rest = torch.where(survives, 0, (u - survival) / (1 - survival))
        return Noised(torch.where(survives, z0, self.destroyed(rest)), t, z0)

    def prior(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw z_1 [B, *shape] int64 as it is if every token is equally likely in the data."""
        data = self._uniform_tokens(noise.at("data").uniform(shape))
        one = torch.ones(len(data), dtype=torch.float64, device=data.device)
        return self.sample(data, one, noise).z_t

    def prior_kl(self, z0: Tensor) -> Tensor:
        tokens = torch.full((self.vocab_size,), 1 / self.vocab_size, dtype=torch.float64)
        one = torch.ones((), dtype=torch.float64)
        prior = self._marginal(self._as_states(tokens), one)
        known = self._marginal(functional.one_hot(torch.zeros((), dtype=torch.int64), self.num_states).double(), one)
        # By symmetry the same for every token: KL(known ‖ prior).
        kl = torch.where(known > 0, known * (known / prior).log(), 0).sum()
        return torch.full((len(z0),), float(kl) * z0[0].numel(), dtype=torch.float64, device=z0.device)

    def transition(self, z_s: Tensor, s: Tensor, t: Tensor) -> Categorical:
        schedule = self.schedule
        keep = per_sample(schedule.survival(t) / schedule.survival(s), z_s)[..., None]
        lost = per_sample(schedule.gone_between(s, t), z_s)[..., None]
        known = functional.one_hot(z_s, self.num_states).double()
        return Categorical((keep * known + lost * self.limit.to(z_s.device)).log())

    def posterior(self, z_t: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Any:
        """Return q(z_s | z_t, z0) with the predicted distribution of z0 in the place of its one-hot vector.

        That is what is proportional to Σ_x p(x) q(z_t | z_s) q(z_s | x), as in D3PM, eq. 4.
        """
        limit = self.limit.to(z_t.device)
        schedule = self.schedule
        shares = (schedule.survival(s), schedule.survival(t), schedule.gone(s), schedule.gone_between(s, t))
        at_s, at_t, gone, lost = (per_sample(share, z_t)[..., None] for share in shares)
        x0 = self._as_states(_probabilities(prediction.x0))
        z = functional.one_hot(z_t, self.num_states).double()
        keep = torch.where(at_s > 0, at_t / at_s, 0)
        forward = keep * z + lost * limit[z_t][..., None]  # q(z_t | z_s) over z_s
        joint = forward * (at_s * x0 + gone * limit)
        return Categorical((joint / joint.sum(-1, keepdim=True)).log())

    def clean(self, prediction: Prediction, z_t: Tensor, t: Tensor, noise: Noise) -> Tensor:
        """Draw clean tokens [B, *D] int64 from `clean_posterior`, each by itself."""
        return Categorical(self.clean_posterior(prediction, z_t, t)).sample(noise)

    def clean_posterior(self, prediction: Prediction, z_t: Tensor, t: Tensor) -> Tensor:
        """Return log q(x | z_t) [B, *D, V] float64 of clean tokens, which is proportional to p(x) q(z_t | x).

        What is predicted for a position follows from the others alone; what stands there counts as well.
        """
        survival, gone = self._shares(t, z_t)
        own = functional.one_hot(z_t, self.num_states)[..., : self.vocab_size].double()
        seen = survival * own + gone * self.limit.to(z_t.device)[z_t][..., None]
        joint = prediction.x0.double() + seen.log()
        # A truncation may leave no probability to a token that cannot be another one.
        return torch.where((joint > -torch.inf).any(-1, keepdim=True), joint, own.log()).log_softmax(-1)

    def confidence(self, prediction: Prediction, z_t: Tensor, z_s: Tensor) -> Tensor:
        """Return the probability [B, *D] of the tokens of z_s, NaN at masks and at what no step changes any more."""
        assert isinstance(prediction, TokenPrediction)
        predicted = (self.jump_rate(z_t) > 0) & (z_s < self.vocab_size)
        return torch.where(predicted, prediction.confidence(z_s.clamp(max=self.vocab_size - 1)), torch.nan)

    def bound(self, prediction: TokenPrediction, z0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the term [B] float32 of the negative evidence lower bound at times t [B], in nats per token.

        Its mean over uniform times is the bound, without `prior_kl`, and without what the data costs given the state at
        t = 0: nothing where all tokens survive there (`Schedule.ends_clean`). In continuous time it is a rate; for T
        steps it is T KL(q(z_s | z_t, z0) ‖ q(z_s | z_t, prediction)) with s = t − 1/T (D3PM, eq. 1), where the KL for
        s = 0 is −log of the probability of the data, if all tokens survive there.

        Args:
            prediction: for z_t.
            z0: [B, *D] int64 clean tokens.
            z_t: [B, *D] int64, drawn from q(z_t | z0).
            t: [B] float64 above 0; in steps of 1/T where there are steps.
        """
        steps = self.schedule.steps
        if steps is None:
            return prediction.bound_rate(self, z0, z_t, t).flatten(1).mean(1).float()
        s = (t - 1 / steps).clamp(min=0)
        exact = self.posterior(z_t, self.known(z0), t, s).log_probs
        divergence = torch.where(
            exact > -torch.inf, exact.exp() * (exact - self.posterior(z_t, prediction, t, s).log_probs), 0
        )
        return (steps * divergence.sum(-1).flatten(1).mean(1)).float()

    @abstractmethod
    def bound_rate(self, prediction: TokenPrediction, z0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the rate [B, *D] of each position in the bound of continuous time, in nats; see `bound`."""

    @abstractmethod
    def log_scores_of(self, prediction: Prediction, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the log-scores [B, *D, V] float64 that follow from the predicted probabilities of clean tokens."""

    @abstractmethod
    def scores_of_raw(self, raw: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return log-scores [B, *D, V] from outputs of a network that are of one size at all times."""

    @abstractmethod
    def x0_of(self, log_scores: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the log-probabilities of clean tokens [B, *D, V] that follow from log-scores: `log_scores_of` back."""

    @abstractmethod
    def jump_rate(self, z_t: Tensor) -> Tensor:
        """Return at which share of the schedule's rate each token becomes the state of a position: [B, *D] float64."""

    def known(self, z0: Tensor) -> TokenLogProbs:
        """Return the prediction of one who knows the clean tokens z0 [B, *D]."""
        return TokenLogProbs(functional.one_hot(z0, self.vocab_size).float().log())

    def _marginal(self, x0: Tensor, t: Tensor) -> Tensor:
        survival = self.schedule.survival(t)
        return survival * x0 + (1 - survival) * self.limit

    def _shares(self, t: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares α and 1 − α of positions that survive and that are destroyed, to go with [B, *D, V]."""
        shares = (self.schedule.survival(t), self.schedule.gone(t))
        survival, gone = (per_sample(share, z_t)[..., None] for share in shares)
        return survival, gone

    def _as_states(self, tokens: Tensor) -> Tensor:
        """Return a distribution over tokens [..., V] as one over states [..., S], of which tokens are the first."""
        return functional.pad(tokens, (0, self.num_states - self.vocab_size))

    def _uniform_tokens(self, u: Tensor) -> Tensor:
        return (u * self.vocab_size).long().clamp(max=self.vocab_size - 1)


def _probabilities(logs: Tensor) -> Tensor:
    """Return probabilities in float64; those that it cannot hold are as small as may be, and 0 at −∞ alone.

    The gradient of the logarithm of a 0 that was no −∞ would not be a number.
    """
    return torch.where(logs > -torch.inf, logs.double().exp().clamp(min=1e-300), 0)
