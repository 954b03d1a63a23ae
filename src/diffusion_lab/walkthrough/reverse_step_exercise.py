"""The exercise of the reverse step (Ho et al. 2020, algorithm 2), held against the library's sampler.

A step is a linear combination of the state x, the predicted noise eps and new noise z. Its three factors are found by
least squares, for the reader's function and for `Ancestral` alike; each mistake is known by a factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import Ancestral, State
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import LinearSchedule
from diffusion_lab.walkthrough.mistakes import Mistake, checked_tensor, result_of, told

#: The step indices that are tried: in the middle first, where no two mistakes look alike.
INDICES = (500, 999, 1, 0)

#: By how much two factors may differ and be the same, in float32.
_CLOSE = 3e-6

_SHAPE = (2, 1, 8, 8)


@dataclass(frozen=True)
class _Factors:
    """The factors of the state, of the predicted noise and of new noise in a step; the last is 0 where it has none."""

    x: float
    eps: float
    z: float


def check_reverse_step(reverse_step: Callable[..., Tensor]) -> bool:
    """Return whether a function takes the reverse step as the library does; print so, or its mistake.

    Args:
        reverse_step: ``(x, eps, i, z, betas, alpha_bars)`` → x at index i − 1: x, the predicted noise eps and the new
            noise z are [B, C, H, W], i is an int from 0 to T − 1, betas and alpha_bars are [T]. The variance of the
            new noise is beta, and there is none at i = 0.
    """
    return told(lambda: _checked(reverse_step))


def _checked(reverse_step: Callable[..., Tensor]) -> str:
    schedule = LinearSchedule()
    assert schedule.betas is not None
    assert schedule.alpha_bar is not None
    betas, alpha_bars = schedule.betas, schedule.alpha_bar[1:]
    noise = Noise(torch.arange(_SHAPE[0]), 0, "exercise")
    x, eps = (noise.at(name).normal(_SHAPE[1:]).double() for name in ("x", "eps"))
    difference = 0.0
    for i in INDICES:
        z = noise.at("step").normal(_SHAPE[1:]).double()
        theirs = [
            checked_tensor(result_of(reverse_step, x, eps, i, z, betas, alpha_bars), _SHAPE, it)
            for it in ("what it returns", "what it returns the second time")
        ]
        if not torch.equal(*theirs):
            raise Mistake(
                "it draws noise of its own, since it returns other numbers each time: use the z that is given"
            )
        ours = _library_step(schedule, x, eps, i, noise.at("step"))
        right, found = _factors(ours, x, eps, z), _factors(theirs[0], x, eps, z)
        if found is None:
            raise Mistake(f"at i = {i} it is not a sum of x, eps and z, each times a number")
        assert right is not None
        if not _same(found, right):
            raise Mistake(
                f"at i = {i}, {_neighbour(found, i, schedule) or _mistake(found, right, i, betas, alpha_bars)}"
            )
        difference = max(difference, float((theirs[0] - ours).abs().max()))
    where = ", ".join(map(str, INDICES[:-1]))
    return f"at i = {where} and {INDICES[-1]} it agrees with diffusion_lab.sampling.Ancestral to {difference:.0e}."


def _library_step(schedule: LinearSchedule, x: Tensor, eps: Tensor, i: int, noise: Noise) -> Tensor:
    process = Gaussian(schedule)
    sampler = Ancestral(process, Trailing(schedule), variance="beta")
    t, s = sampler.steps[len(sampler.steps) - 1 - i]
    times = [torch.full((len(x),), time, dtype=torch.float64) for time in (t, s)]

    def denoiser(z_t: Tensor, t: Tensor) -> GaussianPrediction:
        return GaussianPrediction.of(process, z_t, t, eps, "eps")

    return sampler.step(State(x), times[0], times[1], denoiser, noise).z


def _factors(result: Tensor, x: Tensor, eps: Tensor, z: Tensor) -> _Factors | None:
    """Return the factors of which a result is made; None if it is made of anything else."""
    parts = torch.stack([x.flatten(), eps.flatten(), z.flatten()], dim=1)
    solution = torch.linalg.lstsq(parts, result.flatten()[:, None]).solution
    if float((parts @ solution - result.flatten()[:, None]).abs().max()) > 1e-4:
        return None
    return _Factors(*solution.flatten().tolist())


def _same(one: _Factors, other: _Factors) -> bool:
    return all(abs(a - b) < _CLOSE for a, b in ((one.x, other.x), (one.eps, other.eps), (one.z, other.z)))


def _mistake(found: _Factors, right: _Factors, i: int, betas: Tensor, alpha_bars: Tensor) -> str:
    """Return the mistake that explains the first factor that is wrong."""
    beta, alpha_bar = float(betas[i]), float(alpha_bars[i])
    alpha, before = 1 - beta, float(alpha_bars[i - 1]) if i else 1.0
    rest = math.sqrt(1 - alpha_bar)
    of_x = {
        1.0: "x is not divided by √α: the whole bracket is multiplied by 1/√α",
        math.sqrt(alpha): "x is multiplied by √α, where it is divided by it",
        1 / alpha: "x is divided by α: the square root is missing",
        1 / math.sqrt(alpha_bar): "x is divided by √ᾱ: α = 1 − β is of this step, ᾱ of all steps until it",
        1 / alpha_bar: "x is divided by ᾱ: take √α, with α = 1 − β of this step",
        1 / math.sqrt(beta): "x is divided by √β: α is 1 − β",
        0.0: "x itself is missing",
    }
    # What is subtracted in the bracket.
    of_eps = {
        -beta / rest: "eps is added, where it is subtracted: a sign is wrong",
        math.sqrt(beta): "eps is divided by √(1 − α): take √(1 − ᾱ), with the product of all α until this step",
        beta / (1 - alpha_bar): "eps is divided by 1 − ᾱ: the square root is missing",
        math.sqrt(beta) / rest: "eps is multiplied by √β, where it is by β",
        beta / math.sqrt(alpha_bar): "eps is divided by √ᾱ, where it is by √(1 − ᾱ)",
        beta: "eps is not divided by √(1 − ᾱ)",
        beta / rest * math.sqrt(alpha): "1/√α multiplies x alone: it belongs before the whole bracket",
        rest: "eps is multiplied by √(1 − ᾱ), which takes all noise away at once: take β/√(1 − ᾱ)",
        1.0: "eps is subtracted as a whole: its factor β/√(1 − ᾱ) is missing",
        0.0: "eps is not used",
    }
    of_z = {
        0.0: "the new noise is missing: every step but the last one adds √β z",
        beta: "z is multiplied by β, the variance: take its square root",
        1.0: "z is not multiplied by √β",
        math.sqrt(beta / alpha): "z stands in the bracket: it is not divided by √α",
        math.sqrt(beta * (1 - before) / (1 - alpha_bar)): (
            "the variance is β̃ = β (1 − ᾱ of the step before)/(1 − ᾱ), the paper's other choice: here it is to be β"
        ),
        rest: "z is multiplied by √(1 − ᾱ), the noise of all steps together: take √β, of this one",
        -math.sqrt(beta): "z is subtracted, which is as random, but cannot be compared: add it",
    }
    if i == 0 and abs(found.z) > _CLOSE:
        return "new noise is added: the last step returns its mean alone"
    for name, got, wanted, scale, known in (
        ("x", found.x, right.x, 1.0, of_x),
        ("eps", found.eps, right.eps, -right.x, of_eps),
        ("z", found.z, right.z, 1.0, of_z),
    ):
        if abs(got - wanted) < _CLOSE:
            continue
        named = next((text for factor, text in known.items() if abs(got - scale * factor) < _CLOSE), None)
        return named or f"the factor of {name} is {got:.6g}, where it is {wanted:.6g}"
    raise AssertionError("the factors are right")


def _neighbour(found: _Factors, i: int, schedule: LinearSchedule) -> str | None:
    """Return what is wrong if the tables were read at another index than i."""
    noise = Noise(torch.arange(_SHAPE[0]), 1, "exercise")
    x, eps, z = (noise.at(name).normal(_SHAPE[1:]).double() for name in ("x", "eps", "z"))
    for other in (i - 1, i + 1):
        if 0 < other < INDICES[1]:
            step = _library_step(schedule, x, eps, other, noise.at("z"))
            if (factors := _factors(step, x, eps, z)) is not None and _same(found, factors):
                return f"it takes betas and alpha_bars at index {other}: row i of the tables belongs to the step from i"
    return None
