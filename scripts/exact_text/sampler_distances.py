"""How far what a sampler of tokens draws is from the joint distribution, though its denoiser is exact."""

from __future__ import annotations

import inspect
import itertools
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from diffusion_lab.config.annotations import type_hints
from diffusion_lab.config.tree import options, read_option
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Logits, Substitution
from diffusion_lab.processes import Absorbing, DiscreteProcess
from diffusion_lab.sampling import Sampler, draw
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import LogLinearSchedule
from exact_text.exact_steps import STEPS, TIMELESS, StepFacts
from exact_text.hidden_markov import ExactDenoiser, HiddenMarkov

#: What survives at t = 1 where a sampler needs some that does (SEDD).
_REMAINING = 1e-3


@dataclass(frozen=True)
class Case:
    """A sampler of tokens on a process, by their options in the config tree."""

    sampler: str
    process: str

    def __str__(self) -> str:
        return f"{self.sampler}, {self.process}"


def cases() -> list[Case]:
    """Return all samplers that go with a discrete process, with each such process, from the config tree.

    Those that ask for the network draw whole blocks by the others, and have no step of their own.
    """
    processes = {name: _target("process", name) for name in options("process")}
    discrete = {name: kind for name, kind in processes.items() if issubclass(kind, DiscreteProcess)}
    found = []
    for sampler in options("sampler"):
        hints = type_hints(_target("sampler", sampler))
        if "network" in hints:
            continue
        hint = hints["process"]
        for process, kind in discrete.items():
            if any(issubclass(kind, one) for one in get_args(hint) or (hint,)):
                found.append(Case(sampler, process))
    return found


def takes_steps(case: Case) -> bool:
    """Whether the number of steps can be chosen; otherwise it is the number of tokens."""
    return "num_steps" in inspect.signature(_target("sampler", case.sampler)).parameters


def prepared(case: Case, chain: HiddenMarkov, num_steps: int) -> tuple[Any, Any]:
    """Return the process and the sampler of a case, with the settings of its YAML."""
    settings = {k: v for k, v in read_option("sampler", case.sampler).items() if k != "_target_"}
    make = _target("sampler", case.sampler)
    refused = None
    for remaining in (0.0, _REMAINING):
        process = _target("process", case.process)(LogLinearSchedule(remaining=remaining), chain.vocab_size)
        parts = {"process": process, "grid": Trailing(process.schedule), "length": chain.length, "num_steps": num_steps}
        known = {name: part for name, part in parts.items() if name in inspect.signature(make).parameters}
        try:
            return process, make(**{**settings, **known})
        except ValueError as error:
            refused = error
    raise ValueError(f"{case}: {refused}")


def exact_distance(case: Case, chain: HiddenMarkov, num_steps: int) -> float | None:
    """Return the total variation between the sampler's distribution and the joint; None if its step is not known."""
    found = exact_distribution(case, chain, num_steps)
    return None if found is None else 0.5 * float((found - chain.probs).abs().sum() + 1 - found.sum())


def exact_distribution(case: Case, chain: HiddenMarkov, num_steps: int) -> Tensor | None:
    """Return the probabilities of all sequences [V^L] in what a sampler draws; None if its step is not known.

    They add up to less than 1 where masks are left.
    """
    if case.sampler not in STEPS:
        return None
    process, sampler = prepared(case, chain, num_steps)
    survival = process.schedule.survival
    states = torch.tensor(list(itertools.product(range(process.num_states), repeat=chain.length)))
    tokens = torch.full((process.num_states,), 1 / chain.vocab_size, dtype=torch.float64)
    tokens[chain.vocab_size :] = 0
    end = survival(torch.ones((), dtype=torch.float64))
    probs = (end * tokens + (1 - end) * process.limit)[states].prod(1)  # the prior
    network, kept = ExactDenoiser(chain, process), {}
    for number, (t, s) in enumerate(sampler.steps):
        left = min(len(sampler.steps) - number, chain.length)
        if (key := left if case.sampler in TIMELESS else number) not in kept:
            times = torch.tensor([t, s], dtype=torch.float64)
            alpha_t, alpha_s = survival(times).tolist()
            rate = float(-process.schedule.d_survival(times[0])) / alpha_t if alpha_t else float("inf")
            known = network(states, torch.full((len(states),), 1000 * t)).exp()
            facts = StepFacts(states, known, process.limit, t, s, alpha_t, alpha_s, rate, left, sampler)
            kept = {key: STEPS[case.sampler](facts)}
        probs = probs @ kept[key]
    return probs[(states < chain.vocab_size).all(1)]


def drawn_distribution(case: Case, chain: HiddenMarkov, num_steps: int, count: int, seed: int = 0) -> Tensor:
    """Return the shares of all sequences [V^L] among `count` draws; they add up to less than 1 where masks are left."""
    process, sampler = prepared(case, chain, num_steps)
    assert isinstance(sampler, Sampler)
    parameterization = Substitution(process) if isinstance(process, Absorbing) else Logits(process)
    noise = Noise(torch.arange(count), seed, "sample")
    start = process.prior((chain.length,), noise.at("prior"))
    denoiser = Denoiser(ExactDenoiser(chain, process), parameterization)
    samples = draw(denoiser, sampler, start, noise)
    samples = samples[(samples < chain.vocab_size).all(1)]
    place = chain.vocab_size ** torch.arange(chain.length - 1, -1, -1)
    return torch.bincount((samples * place).sum(1), minlength=len(chain.probs)) / count


def drawn_distance(case: Case, chain: HiddenMarkov, num_steps: int, count: int, seed: int = 0) -> float:
    """Return the total variation between the shares of `count` draws and the joint."""
    found = drawn_distribution(case, chain, num_steps, count, seed).double()
    return 0.5 * float((found - chain.probs).abs().sum() + 1 - found.sum())


def sampling_error(chain: HiddenMarkov, count: int, repeats: int = 400) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of the total variation of `count` draws from the joint itself."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.multinomial(chain.probs, repeats * count, True, generator=generator).view(repeats, count)
    shares = torch.stack([torch.bincount(row, minlength=len(chain.probs)) / count for row in rows])
    low, high = (0.5 * (shares - chain.probs).abs().sum(1)).quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
    return float(low), float(high)


def table(steps: Sequence[int], rows: dict[Case, dict[int, float]]) -> str:
    """Format the distances as aligned text: a row for each case, a column for each number of steps."""
    lines = ["total variation, by number of steps", f"{'':26}" + "".join(f"{n:>9}" for n in steps)]
    for case, found in rows.items():
        cells = [f"{found[n]:.5f}" if n in found else "" for n in steps]
        lines.append(f"{case!s:26}" + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)


def _target(group: str, option: str) -> Any:
    return pkgutil.resolve_name(read_option(group, option)["_target_"])
