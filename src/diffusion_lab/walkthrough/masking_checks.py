"""Checks of the exercises of the notebook on text: masking a sequence, and one reverse step of masked diffusion.

The reference is the library's own process. A check prints one line: that the answer is right, or what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Absorbing, TokenLogProbs
from diffusion_lab.schedules import LogLinearSchedule, SurvivalCosineSchedule

#: (clean tokens [B, L], times [B], uniform numbers [B, L], process) → states [B, L].
MaskTokens = Callable[[Tensor, Tensor, Tensor, Absorbing], Tensor]
#: (states [B, L], probabilities of clean tokens [B, L, V], times t [B], times s [B], process) → [B, L, V + 1].
ReverseProbs = Callable[[Tensor, Tensor, Tensor, Tensor, Absorbing], Tensor]

_VOCAB, _LENGTH = 5, 8


def check_mask_tokens(function: MaskTokens) -> None:
    """Print whether a function masks tokens as the process does, with the same uniform numbers."""
    print(verdict_on_mask_tokens(function))


def check_reverse_probs(function: ReverseProbs) -> None:
    """Print whether a function gives the probabilities of a reverse step as the process does."""
    print(verdict_on_reverse_probs(function))


def verdict_on_mask_tokens(function: MaskTokens) -> str:
    """Return the line that `check_mask_tokens` prints."""
    for schedule in (LogLinearSchedule(), SurvivalCosineSchedule()):
        process = Absorbing(schedule, _VOCAB)
        noise = Noise(torch.arange(64), 0, "exercise")
        tokens = noise.at("tokens").uniform((_LENGTH,)).mul(_VOCAB).long()
        t = noise.at("t").uniform().clamp(0.2, 0.8)
        u = noise.uniform((_LENGTH,))
        given = tokens.clone()
        found, problem = _called(lambda: function(given, t, u, process), tokens.shape)  # noqa: B023
        if found is None:
            return problem
        if not torch.equal(given, tokens):
            return "Not yet: it changes the tokens that it was given; return a new tensor, as torch.where does."
        right = process.sample(tokens, t, noise).z_t
        if torch.equal(found, right):
            continue
        return _named(found, _wrong_masks(tokens, t, u, process), _first_difference(found, right))
    return "Right: the same states as the library's process, for two schedules."


def _wrong_masks(tokens: Tensor, t: Tensor, u: Tensor, process: Absorbing) -> Mapping[str, Tensor]:
    survival = process.schedule.survival(t)[:, None]
    survives, mask = u < survival, process.mask

    def masked(where: Tensor, state: int = mask) -> Tensor:
        return torch.where(where, state, tokens)

    return {
        "it masks the tokens that survive: with probability α(t) a token stays what it is.": masked(survives),
        "a whole row shares one uniform number: each position is masked by itself.": masked(~survives[:, :1]),
        "it masks with probability t, which is 1 − α(t) for the log-linear schedule alone: "
        "use process.schedule.survival(t).": masked(u >= 1 - t[:, None]),
        "it uses t where α(t) belongs: take process.schedule.survival(t).": masked(u >= t[:, None]),
        "the mask is a state of its own, process.mask, after the tokens; yours is the last token.": masked(
            ~survives, mask - 1
        ),
        "the mask is a state of its own, process.mask; yours is token 0.": masked(~survives, 0),
        "all rows use the time of the first one: α(t) is [B], and needs a trailing axis to meet [B, L].": masked(
            u >= survival[:1]
        ),
    }


def verdict_on_reverse_probs(function: ReverseProbs) -> str:
    """Return the line that `check_reverse_probs` prints."""
    for schedule in (LogLinearSchedule(), SurvivalCosineSchedule()):
        process = Absorbing(schedule, _VOCAB)
        noise = Noise(torch.arange(16), 0, "exercise")
        z_t = noise.at("state").uniform((_LENGTH,)).mul(2 * _VOCAB).long().clamp(max=process.mask)
        probs = noise.at("probs").uniform((_LENGTH, _VOCAB)).clamp(min=0.05)
        probs = probs / probs.sum(-1, keepdim=True)
        t = noise.at("t").uniform().clamp(0.4, 0.9)
        s = t * noise.at("s").uniform().clamp(0.2, 0.8)
        shape = torch.Size([*z_t.shape, _VOCAB + 1])
        found, problem = _called(lambda: function(z_t, probs, t, s, process), shape)  # noqa: B023
        if found is None:
            return problem
        posterior = process.posterior(z_t, TokenLogProbs(probs.log()), t, s)
        right = posterior.log_probs.exp()
        if torch.allclose(found.double(), right, atol=1e-6):
            continue
        masked = z_t == process.mask
        other = _named(found, _wrong_steps(z_t, probs, t, s, process), "")
        if other:
            return other
        sums = found.double().sum(-1)
        if not torch.allclose(sums, torch.ones_like(sums), atol=1e-5):
            return f"Not yet: the probabilities of a position add up to 1; yours to {float(sums.flatten()[0]):.3f}."
        if not torch.allclose(found.double()[~masked], right[~masked], atol=1e-6):
            return "Not yet: a token that is open stays as it is, with probability 1."
        return f"Not yet: {_first_difference(found.double()[..., -1], right[..., -1], 'the probability of the mask')}"
    return "Right: the same probabilities as the library's posterior, for two schedules."


def _wrong_steps(z_t: Tensor, probs: Tensor, t: Tensor, s: Tensor, process: Absorbing) -> Mapping[str, Tensor]:
    masked = (z_t == process.mask)[..., None]
    own = torch.nn.functional.one_hot(z_t, process.num_states).double()

    def step(stays: Tensor, share: Tensor | None = None, everywhere: bool = False) -> Tensor:
        stays = stays[:, None, None].expand(*z_t.shape, 1)
        tokens = probs * (1 - stays if share is None else share)
        new = torch.cat([tokens, stays], -1)
        return new if everywhere else torch.where(masked, new, own)

    at_s, at_t = process.schedule.gone(s), process.schedule.gone(t)
    right, one = at_s / at_t, torch.ones(())
    return {
        "it swaps the two: a mask stays with probability (1 − α(s))/(1 − α(t)), and opens with the rest.": step(
            1 - right
        ),
        "the tokens' probabilities must be scaled by the probability that the mask opens, "
        "or all add up to more than 1.": step(right, one),
        "it stays masked with probability 1 − α(s); but it is known to be masked at t: divide by 1 − α(t).": step(at_s),
        "it uses s/t, which is right for the log-linear schedule alone: take (1 − α(s))/(1 − α(t)).": step(s / t),
        "it uses the survivals: (α(s))/(α(t)) is no probability, since α falls with time.": step(
            process.schedule.survival(s) / process.schedule.survival(t)
        ),
        "it opens every mask in one step: some stay, with probability (1 − α(s))/(1 − α(t)).": step(
            torch.zeros_like(s)
        ),
        "tokens that are open are drawn anew: they stay as they are, with probability 1.": step(right, None, True),
    }


def _called(call: Callable[[], object], shape: torch.Size) -> tuple[Tensor | None, str]:
    """Return what a call returns if it is a tensor of this shape; else None and what is wrong."""
    try:
        found = call()
    except NotImplementedError:
        return None, "Not finished yet: replace the line that raises NotImplementedError."
    except Exception as error:  # whatever a reader's code raises
        return None, f"Not yet: it raises {type(error).__name__}: {' '.join(str(error).split())}"
    if found is None or found is ...:
        return None, "Not finished yet: it returns nothing."
    if not isinstance(found, Tensor):
        return None, f"Not yet: it returns {type(found).__name__}, and a tensor {list(shape)} is needed."
    if found.shape != shape:
        return None, f"Not yet: it returns the shape {list(found.shape)}, and {list(shape)} is needed."
    return found, ""


def _named(found: Tensor, wrong: Mapping[str, Tensor], otherwise: str) -> str:
    """Return the mistake that leads to just these numbers; `otherwise` if none is known."""
    for mistake, numbers in wrong.items():
        if torch.allclose(found.double(), numbers.double(), atol=1e-6):
            return f"Not yet: {mistake}"
    return f"Not yet: {otherwise}" if otherwise else ""


def _first_difference(found: Tensor, right: Tensor, what: str = "the state") -> str:
    row, place = (found != right).nonzero()[0].tolist()
    return (
        f"{what} of row {row}, position {place} is {found[row, place].item():.4g}, "
        f"and the library's {right[row, place].item():.4g}."
    )
