"""The exercise of the forward process of masked diffusion (Austin et al. 2021, D3PM; Sahoo et al. 2024, MDLM)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Absorbing
from diffusion_lab.schedules import LogLinearSchedule, SurvivalCosineSchedule
from diffusion_lab.walkthrough.mistakes import Mistake, checked_tensor, result_of, told

#: The numbers of sequences, of positions and of tokens that are tried.
_ROWS, _LENGTH, _VOCAB = 64, 8, 5


def check_mask_tokens(mask_tokens: Callable[[Tensor, Tensor, Tensor, Absorbing], Tensor]) -> bool:
    """Return whether a function masks tokens as the library does with the same numbers; print so, or its mistake.

    Args:
        mask_tokens: ``(tokens, t, u, process)`` → states [B, L] int64: tokens are [B, L] int64, t is [B] and u [B, L],
            uniform in [0, 1); a token survives where its u is below α(t).
    """
    return told(lambda: _checked(mask_tokens))


def _checked(mask_tokens: Callable[..., Tensor]) -> str:
    for schedule in (LogLinearSchedule(), SurvivalCosineSchedule()):
        process = Absorbing(schedule, _VOCAB)
        noise = Noise(torch.arange(_ROWS), 0, "exercise")
        tokens = noise.at("tokens").uniform((_LENGTH,)).mul(_VOCAB).long()
        t = noise.at("t").uniform().clamp(0.2, 0.8)
        u = noise.uniform((_LENGTH,))
        found = checked_tensor(result_of(mask_tokens, tokens, t, u, process), (_ROWS, _LENGTH), "what it returns")
        right = process.sample(tokens, t, noise).z_t
        if torch.equal(found, right.double()):
            continue
        for mistake, states in _mistaken(tokens, t, u, process).items():
            if torch.equal(found, states.double()):
                raise Mistake(mistake)
        row, place = (found != right).nonzero()[0].tolist()
        raise Mistake(
            f"at α(t) = {float(schedule.survival(t[row])):.3f} and u = {float(u[row, place]):.3f}, token "
            f"{int(tokens[row, place])} becomes {found[row, place]:g}, where it is {int(right[row, place])}"
        )
    return "the same states as diffusion_lab.processes.Absorbing, for two schedules."


def _mistaken(tokens: Tensor, t: Tensor, u: Tensor, process: Absorbing) -> Mapping[str, Tensor]:
    """Return what known mistakes lead to."""
    survival, mask = process.schedule.survival(t)[:, None], process.mask
    survives = u < survival

    def masked(where: Tensor, state: int = mask) -> Tensor:
        return torch.where(where, state, tokens)

    return {
        "it masks the tokens that survive: a token stays what it is with probability α(t)": masked(survives),
        "a whole row shares one uniform number: each position is masked by itself": masked(
            (u[:, :1] >= survival).expand_as(u)
        ),
        "it masks with probability t, which is 1 − α(t) for the log-linear schedule alone": masked(u >= 1 - t[:, None]),
        "it uses t where α(t) belongs: take process.schedule.survival(t)": masked(u >= t[:, None]),
        "the last token stands where the mask belongs, which comes after the tokens: process.mask": masked(
            ~survives, mask - 1
        ),
        "token 0 stands where the mask belongs: process.mask": masked(~survives, 0),
        "all rows are masked by the time of the first: α(t) is [B], and α(t)[:, None] meets [B, L]": masked(
            u >= survival[:1]
        ),
    }
