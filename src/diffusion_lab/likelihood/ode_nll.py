"""The negative log-likelihood under the probability-flow ODE.

Song et al. 2021 (score-based SDEs), section 4.3 and appendix D.2: the change of variables of Chen et al. 2018, with the
trace estimator of Hutchinson 1989 as in FFJORD (Grathwohl et al. 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab.codecs import Codec
from diffusion_lab.errors import LabError
from diffusion_lab.likelihood.base import (
    Items,
    LikelihoodEstimator,
    LikelihoodResult,
    check_finite,
    half_width,
    least_noise,
)
from diffusion_lab.likelihood.item_solver import solve_each
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling import Pipeline

#: sigma/alpha above which a state is taken for pure noise.
_PURE_NOISE = 1e6

#: Each item that is solved has a thread.
_MOST_TOGETHER = 1024

_MOST_PROBES = 1000

#: Dimensions of an item for an exact trace, which takes as many backward passes.
_MOST_EXACT = 4096


@dataclass(frozen=True)
class OdeResult(LikelihoodResult):
    """The likelihood by the ODE, and how exactly it was solved.

    Attributes:
        rtol, atol: the tolerances.
        min_noise: sigma/alpha where the ODE starts.
        trace_error: the part of the standard error that the random probes of the trace make; None if it is exact, or
            there is one probe, whose part cannot be told from the rest.
    """

    rtol: float
    atol: float
    min_noise: float
    trace_error: float | None

    def as_dict(self) -> dict[str, float | str | None]:
        own = {name: getattr(self, name) for name in ("rtol", "atol", "min_noise", "trace_error")}
        return super().as_dict() | own

    def summary(self) -> str:
        return (
            f"NLL {super().summary()} by the probability-flow ODE of dequantized data (from sigma/alpha = "
            f"{self.min_noise:.4g}, rtol {self.rtol:g}); {self.evaluations:,.0f} evaluations for each"
        )


class OdeNLL(LikelihoodEstimator):
    """log p(x) = log prior(z_end) + ∫ divergence of the velocity along the way from the data to noise.

    With the state u = z/√(alpha² + sigma²) and the time τ = ln(sigma/alpha), every schedule has the same ODE: du/dτ =
    c s v with v = c eps − s x0 and (c, s) = (alpha, sigma)/√(alpha² + sigma²). It is s (eps − s u) where eps is
    predicted and c (c u − x0) where x0 is, without a division by what is small, and vanishes where little signal is
    left. Where none is, the ODE ends at sigma/alpha = 10⁶. Each item has steps of its own.

    In clean data τ is −∞, and a network was not trained where there is less noise than at its first time. So the ODE
    starts from sigma/alpha = `min_noise`, where x counts as the state, over alpha, of a model that stops there. 8-bit
    data is made continuous by noise that is uniform over the interval of each value; the mean of the logarithm of the
    density is then a bound from below on that of the probability (Theis et al. 2016). By default the ODE starts where
    the noise of the model has the variance of that noise: with much less, a model of 8-bit data has narrow peaks at
    its values, and calls data between them improbable; with more, it blurs them.

    Guidance and clipping are left out: they change the model, and clipping makes its velocity rough.

    Args:
        rtol, atol: tolerances of the solver, for the state as a root mean square over its dimensions, and as much for
            the logarithm of the density in nats per dimension. A network in 32 bits is smooth enough for 1e-6.
        trace: ``rademacher`` or ``normal`` probes of the trace, which are unbiased; ``exact`` takes one backward pass
            for each dimension instead.
        probes: how many random probes for each item, a backward pass for each.
        min_noise: sigma/alpha where the ODE starts; None: as `least_noise` says.
        num_items, split, batch_size, seed: as for every `LikelihoodEstimator`.

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        trace: Literal["rademacher", "normal", "exact"] = "rademacher",
        probes: int = 1,
        min_noise: float | None = None,
        num_items: int | None = None,
        split: Literal["train", "val", "test"] = "test",
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(num_items, split, batch_size, seed)
        if not (1e-12 <= rtol < 1 and 1e-12 <= atol < 1):
            raise ValueError(f"rtol and atol must be at least 1e-12 and below 1, got {rtol} and {atol}")
        if not 1 <= probes <= _MOST_PROBES:
            raise ValueError(f"probes must lie between 1 and {_MOST_PROBES}, got {probes}")
        if batch_size > _MOST_TOGETHER:
            raise ValueError(f"batch_size must be at most {_MOST_TOGETHER} for the ODE, got {batch_size}")
        if min_noise is not None and not min_noise > 0:
            raise ValueError(f"min_noise must be above 0, or null, got {min_noise}")
        self.rtol = rtol
        self.atol = atol
        self.trace: Literal["rademacher", "normal", "exact"] = trace
        self.probes = probes
        self.min_noise = min_noise

    def check_process(self, process: Gaussian, codec: Codec) -> None:
        half_width(codec)
        least_noise(process, codec, self.min_noise)

    def estimate(
        self, pipeline: Pipeline, process: Gaussian, items: Items, device: torch.device, bar: tqdm
    ) -> LikelihoodResult:
        size = items.x[0].numel()
        if self.trace == "exact" and size > _MOST_EXACT:
            raise LabError(f"trace=exact is for items of at most {_MOST_EXACT} dimensions, got {size}: take rademacher")
        start = least_noise(process, pipeline.codec, self.min_noise)
        span = (math.log(start), min(_log_noise(process), math.log(_PURE_NOISE)))
        log_alpha = -0.5 * math.log1p(start**2)  # of the first state, where alpha² + sigma² = 1
        bar.unit = "item"
        bar.reset(total=len(items))
        states = self._dequantized(items, pipeline.codec) * math.exp(log_alpha)
        dimensions = states[0].numel()
        logs = 1 if self.trace == "exact" else self.probes
        # In the solver's error, a root mean square, the logarithm of the density counts as much as the whole state.
        scale = math.sqrt(dimensions + logs)

        def slopes(which: list[int], times: np.ndarray, flat: np.ndarray) -> np.ndarray:
            these = items.take(which)
            u = torch.from_numpy(flat[:, :dimensions]).reshape(len(which), *states.shape[1:])
            condition = None if these.condition is None else these.condition.to(device)
            probes = self._probes(these.rows, u)
            v, traces = _velocity(pipeline, process, u.to(device), torch.from_numpy(times), condition, probes)
            if self.trace == "exact":
                traces = traces.mean(1, keepdim=True)
            found = torch.cat([v.flatten(1), scale / dimensions * traces], dim=1).cpu()
            check_finite(found)  # with other slopes the solver would not end
            return found.numpy()

        starts = torch.cat([states.flatten(1), torch.zeros(len(items), logs, dtype=torch.float64)], dim=1).numpy()
        with torch.compiler.set_stance("force_eager"):  # batches differ in size, and each would be compiled anew
            ends, evaluations = solve_each(slopes, starts, span, self.rtol, self.atol, self.batch_size, bar.update)
        last = torch.from_numpy(ends)
        of_prior = _log_normal(last[:, :dimensions], _prior_std(process))
        densities = of_prior[:, None] + last[:, dimensions:] / scale + log_alpha  # [N, logs] of x
        each = -(densities + math.log(2 * half_width(pipeline.codec))) / math.log(2)
        spread = each.var(1).mean() / logs if logs > 1 else None
        return OdeResult(
            bits=each.mean(1),
            rows=items.rows,
            dimensions=dimensions,
            evaluations=float(evaluations.mean()),
            rtol=self.rtol,
            atol=self.atol,
            min_noise=start,
            trace_error=None if spread is None else math.sqrt(float(spread) / len(items)),
        )

    def _dequantized(self, items: Items, codec: Codec) -> Tensor:
        """Return codes [N, *D] float64 of the items with noise that fills the interval of each value."""
        z0 = codec.encode(items.x.double())
        uniform = self.noise(items.rows).at("dequantization").uniform(z0.shape[1:])
        return z0 + half_width(codec) * (2 * uniform - 1)

    def _probes(self, rows: Tensor, like: Tensor) -> list[Tensor]:
        """Return probes [B, *D], the same for an item on all of its way; the mean of probe · J probe is the trace."""
        shape, noise = like.shape[1:], self.noise(rows).at("probe")
        if self.trace == "exact":
            size = like[0].numel()
            return list(
                (math.sqrt(size) * torch.eye(size).to(like)).reshape(size, 1, *shape).expand(-1, len(rows), *shape)
            )
        if self.trace == "normal":
            return [noise.at(number).normal(shape).to(like) for number in range(self.probes)]
        return [2.0 * (noise.at(number).uniform(shape) < 0.5).to(like) - 1 for number in range(self.probes)]


def _velocity(
    pipeline: Pipeline, process: Gaussian, u: Tensor, times: Tensor, condition: Tensor | None, probes: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return du/dτ [B, *D] at states u [B, *D] and times τ [B], and probe · ∂(du/dτ)/∂u probe [B, P] of each probe."""
    t = process.schedule.time(-2 * times)
    alpha, sigma = process.schedule.alpha(t), process.schedule.sigma(t)
    length = (alpha**2 + sigma**2).sqrt()
    with torch.enable_grad():
        u = u.requires_grad_()
        prediction = pipeline.plain_denoiser(per_sample(length, u) * u, t, condition)
        assert isinstance(prediction, GaussianPrediction)
        velocity = per_sample(alpha * sigma / length**3, u) * prediction.v
        traces = []
        for number, probe in enumerate(probes):
            probe = probe.to(u)
            (product,) = torch.autograd.grad(velocity, u, probe, retain_graph=number < len(probes) - 1)
            traces.append((product * probe).flatten(1).sum(1))
    return velocity.detach(), torch.stack(traces, dim=1)


def _log_noise(process: Gaussian) -> float:
    """Return ln(sigma/alpha) at t = 1, which may be infinite."""
    return -float(process.schedule.log_snr(torch.ones((), dtype=torch.float64))) / 2


def _prior_std(process: Gaussian) -> float:
    """Return the standard deviation of u at t = 1: that of the prior over √(alpha² + sigma²)."""
    one, schedule = torch.ones((), dtype=torch.float64), process.schedule
    return schedule.prior_std / math.hypot(float(schedule.sigma(one)), float(schedule.alpha(one)))


def _log_normal(x: Tensor, std: float) -> Tensor:
    """Return the logarithm of the density of N(0, std²) at x [N, D], the mean over dimensions [N]."""
    return -0.5 * (x / std).square().mean(1) - math.log(std) - 0.5 * math.log(2 * math.pi)
