"""The exercise of the reverse step of masked diffusion (Sahoo et al. 2024, MDLM, eq. 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Absorbing, TokenLogProbs
from diffusion_lab.schedules import LogLinearSchedule, SurvivalCosineSchedule
from diffusion_lab.walkthrough.mistakes import Mistake, checked_tensor, result_of, told

#: The numbers of sequences, of positions and of tokens that are tried.
_ROWS, _LENGTH, _VOCAB = 16, 8, 5

#: By how much two probabilities may differ and be the same, in float32.
_CLOSE = 1e-6


def check_reverse_probs(reverse_probs: Callable[[Tensor, Tensor, Tensor, Tensor, Absorbing], Tensor]) -> bool:
    """Return whether a function has the probabilities of the library's posterior; print so, or its mistake.

    Args:
        reverse_probs: ``(z_t, probs, t, s, process)`` → probabilities [B, L, V + 1] of each state at times s, the mask
            last: z_t is [B, L] int64, probs [B, L, V] are those of the clean tokens, t and s are [B] with s < t.
    """
    return told(lambda: _checked(reverse_probs))


def _checked(reverse_probs: Callable[..., Tensor]) -> str:
    noise = Noise(torch.arange(_ROWS), 0, "exercise")
    probs = noise.at("probs").uniform((_LENGTH, _VOCAB)).clamp(min=0.05)
    probs = probs / probs.sum(-1, keepdim=True)
    t = noise.at("t").uniform().clamp(0.4, 0.9)
    s = t * noise.at("s").uniform().clamp(0.2, 0.8)
    for schedule in (LogLinearSchedule(), SurvivalCosineSchedule()):
        process = Absorbing(schedule, _VOCAB)
        z_t = noise.at("state").uniform((_LENGTH,)).mul(2 * _VOCAB).long().clamp(max=process.mask)
        result = result_of(reverse_probs, z_t, probs, t, s, process)
        found = checked_tensor(result, (_ROWS, _LENGTH, _VOCAB + 1), "what it returns")
        right = process.posterior(z_t, TokenLogProbs(probs.log()), t, s).log_probs.exp()
        if _alike(found, right):
            continue
        for mistake, numbers in _mistaken(z_t, probs, t, s, process).items():
            if _alike(found, numbers):
                raise Mistake(mistake)
        raise _other_mistake(found, right, z_t == process.mask)
    return "the same probabilities as diffusion_lab.processes.Absorbing.posterior, for two schedules."


def _mistaken(z_t: Tensor, probs: Tensor, t: Tensor, s: Tensor, process: Absorbing) -> Mapping[str, Tensor]:
    """Return what known mistakes lead to."""
    own = torch.nn.functional.one_hot(z_t, process.num_states).double()

    def step(stays: Tensor, scaled: bool = True, copied: bool = True) -> Tensor:
        stays = stays[:, None, None].expand(*z_t.shape, 1)
        new = torch.cat([probs * (1 - stays) if scaled else probs, stays], -1)
        return torch.where((z_t == process.mask)[..., None], new, own) if copied else new

    schedule = process.schedule
    right = schedule.gone(s) / schedule.gone(t)
    return {
        "it swaps the two: a mask stays with probability (1 − α(s))/(1 − α(t)), and opens with the rest": step(
            1 - right
        ),
        "the probabilities of tokens are not multiplied by that of opening, and all add up to more than 1": step(
            right, scaled=False
        ),
        "it stays masked with probability 1 − α(s); but it is known to be masked at t: divide by 1 − α(t)": step(
            schedule.gone(s)
        ),
        "it uses s/t, which is right for the log-linear schedule alone: take (1 − α(s))/(1 − α(t))": step(s / t),
        "it uses the survivals, α(s)/α(t), which is above 1: take (1 − α(s))/(1 − α(t))": step(
            schedule.survival(s) / schedule.survival(t)
        ),
        "it opens every mask at once: some stay, with probability (1 − α(s))/(1 − α(t))": step(torch.zeros_like(s)),
        "tokens that are open are drawn anew: they stay what they are, with probability 1": step(right, copied=False),
    }


def _other_mistake(found: Tensor, right: Tensor, masked: Tensor) -> Mistake:
    sums = found.sum(-1)
    if not _alike(sums, torch.ones_like(sums)):
        return Mistake(f"the probabilities of a position add up to {float(sums.flatten()[0]):.3f}, and must to 1")
    if not _alike(found[~masked], right[~masked]):
        return Mistake("a token that is open stays what it is, with probability 1")
    row, place = ((found - right).abs().amax(-1) > _CLOSE).nonzero()[0].tolist()
    return Mistake(
        f"the mask of row {row}, position {place} stays with probability {found[row, place, -1]:.4f}, where it does "
        f"with {right[row, place, -1]:.4f}"
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) < _CLOSE
