"""Loss-aware importance sampling of times (Nichol & Dhariwal 2021, section 3.3, eq. 18)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.objectives.time_sampler import TimeSampler
from diffusion_lab.processes import Process

#: In continuous time there are no steps to count.
_CONTINUOUS_BUCKETS = 100


class ImportanceTimes(TimeSampler):
    """Times whose losses are large are drawn more often and weighted less, so that the mean is that of uniform times.

    Time is cut into equal buckets. Bucket k is drawn with p_k ∝ √E[L²], over the losses L of its last `history`
    samples, mixed with `uniform_share` of uniform times; times are uniform within it, and their weight is 1/(K p_k) for
    K buckets. That lowers the variance where losses differ much, as those of objective=vlb do.

    Until each bucket has had `history` samples, times are uniform and weights 1. With the defaults, 1000 steps and
    batches of 128 that takes about 200 batches, with `stratified` about 100, and with 20 buckets three; but fewer
    buckets also tell times apart less. Validation always has uniform times.

    Attributes:
        probabilities: p [K] float64.

    Args:
        process: any process.
        batch_size, stratified: see `TimeSampler`.
        buckets: K, a divisor of the number of steps; None for one for each step, and 100 in continuous time.
        history: how many losses are remembered in each bucket; 10 in the paper.
        uniform_share: of the times that are drawn uniformly, whatever the losses are; 0.001 in the paper's code.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    uniform = True
    learns = True

    def __init__(
        self,
        process: Process,
        batch_size: int,
        stratified: bool = False,
        buckets: int | None = None,
        history: int = 10,
        uniform_share: float = 0.001,
    ) -> None:
        super().__init__(process, batch_size, stratified)
        buckets = (self.steps or _CONTINUOUS_BUCKETS) if buckets is None else buckets
        if buckets < 1 or (self.steps is not None and self.steps % buckets):
            steps = "" if self.steps is None else f" and divide schedule.steps={self.steps}"
            raise ValueError(f"time_sampling.buckets must be at least 1{steps}, got {buckets}")
        if history < 1:
            raise ValueError(f"time_sampling.history must be at least 1, got {history}")
        if not 0 < uniform_share <= 1:
            raise ValueError(f"time_sampling.uniform_share must be above 0 and at most 1, got {uniform_share}")
        self.buckets, self.history, self.uniform_share = buckets, history, uniform_share
        self._losses = torch.zeros(buckets, history, dtype=torch.float64)  # of each bucket, in a ring
        self._counts = torch.zeros(buckets, dtype=torch.int64)  # of the samples that each bucket has had
        self._set_probabilities()

    def quantile(self, u: Tensor) -> Tensor:
        ends, probabilities = self._ends.to(u.device), self.probabilities.to(u.device)
        bucket = torch.searchsorted(ends, u).clamp(max=self.buckets - 1)
        within = 1 - (ends[bucket] - u) / probabilities[bucket]
        return torch.where(self._learned.to(u.device), (bucket + within.clamp(0, 1)) / self.buckets, u)

    def weight(self, t: Tensor) -> Tensor:
        weight = 1 / (self.buckets * self.probabilities.to(t.device)[self._bucket(t)])
        return torch.where(self._learned.to(t.device), weight, 1)

    def update(self, t: Tensor, loss: Tensor) -> None:
        self._losses, self._counts = self._losses.to(loss.device), self._counts.to(loss.device)
        bucket = self._bucket(t)
        order = bucket.argsort(stable=True)
        bucket, loss = bucket[order], loss[order]
        new = torch.zeros_like(self._counts).index_add_(0, bucket, torch.ones_like(bucket))
        number = torch.arange(len(bucket), device=bucket.device) - (new.cumsum(0) - new)[bucket]  # within its bucket
        # Of more than fit into the ring, the last ones count; the others go to a bucket that is thrown away.
        target = torch.where(number >= new[bucket] - self.history, bucket, self.buckets)
        ring = torch.cat([self._losses, self._losses[:1]])
        ring[target, (self._counts[bucket] + number) % self.history] = loss
        self._losses, self._counts = ring[:-1], self._counts + new
        self._set_probabilities()

    def state_dict(self) -> dict[str, Tensor]:
        return {"losses": self._losses, "counts": self._counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, own in self.state_dict().items():
            value = state.get(name)
            if value is None or value.shape != own.shape or value.dtype != own.dtype:
                raise ValueError(
                    f"time_sampling={type(self).__name__} has a state of {self.buckets} buckets with {self.history} "
                    f"losses each, and {name} is none of it"
                )
        self._losses, self._counts = state["losses"].clone(), state["counts"].clamp(min=0)
        self._set_probabilities()

    def _bucket(self, t: Tensor) -> Tensor:
        """Return the bucket [B] int64 of times t [B]: k for (k/K, (k + 1)/K]."""
        if self.steps is not None:
            return ((t * self.steps).round().long() - 1) // (self.steps // self.buckets)
        return ((t * self.buckets).ceil().long() - 1).clamp(0, self.buckets - 1)

    def _set_probabilities(self) -> None:
        """Set the probability [K] of each bucket from the losses."""
        self._learned = (self._counts >= self.history).all()
        size = self._losses.square().mean(1).sqrt()
        total = size.sum()
        usable = self._learned & (total > 0) & total.isfinite()
        mixed = (1 - self.uniform_share) * size / total + self.uniform_share / self.buckets
        self.probabilities = torch.where(usable, mixed, 1 / self.buckets)
        self._ends = self.probabilities.cumsum(0)
