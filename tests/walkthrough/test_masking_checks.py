import pytest
import torch

from diffusion_lab.walkthrough.masking_checks import (
    check_mask_tokens,
    check_reverse_probs,
    verdict_on_mask_tokens,
    verdict_on_reverse_probs,
)


def right_mask(tokens, t, u, process):
    return torch.where(u < process.schedule.survival(t)[:, None], tokens, process.mask)


def unfinished(*arguments):
    raise NotImplementedError


def in_place(tokens, t, u, process):
    tokens[u >= process.schedule.survival(t)[:, None]] = process.mask
    return tokens


def masked_where(condition, state=None):
    def function(tokens, t, u, process):
        survival = process.schedule.survival(t)[:, None]
        mask = process.mask if state is None else state(process)
        return torch.where(condition(t[:, None], u, survival), mask, tokens)

    return function


WRONG_MASKS = {
    "raises NotImplementedError": unfinished,
    "returns nothing": lambda *arguments: None,
    "it raises RuntimeError": lambda tokens, t, u, process: torch.where(u < t, tokens, process.mask),
    "returns list": lambda tokens, *rest: tokens.tolist(),
    "returns the shape [64]": lambda tokens, *rest: tokens[:, 0],
    "changes the tokens that it was given": in_place,
    "masks the tokens that survive": masked_where(lambda t, u, survival: u < survival),
    "shares one uniform number": masked_where(lambda t, u, survival: (u[:, :1] >= survival).expand_as(u)),
    "masks with probability t": masked_where(lambda t, u, survival: u >= 1 - t),
    "uses t where α(t) belongs": masked_where(lambda t, u, survival: u >= t),
    "yours is the last token": masked_where(lambda t, u, survival: u >= survival, lambda process: process.mask - 1),
    "yours is token 0": masked_where(lambda t, u, survival: u >= survival, lambda process: 0),
    "the time of the first one": masked_where(lambda t, u, survival: u >= survival[:1]),
    "the state of row 0, position 0 is": lambda tokens, t, u, process: torch.full_like(tokens, 77),
}


def gone(process, s, t):
    return (process.schedule.gone(s) / process.schedule.gone(t))[:, None, None]


def reverse(z_t, probs, stays, process, scaled=True, copied=True):
    stays = stays.expand(*z_t.shape, 1)
    new = torch.cat([probs * (1 - stays) if scaled else probs, stays], -1)
    own = torch.nn.functional.one_hot(z_t, process.num_states).double()
    return torch.where((z_t == process.mask)[..., None], new, own) if copied else new


def right_step(z_t, probs, t, s, process):
    return reverse(z_t, probs, gone(process, s, t), process)


def half_copied(z_t, probs, t, s, process):
    found = right_step(z_t, probs, t, s, process)
    return torch.where((z_t == process.mask)[..., None], found, 1 / process.num_states)


def wider(time):
    return time[:, None, None]


WRONG_STEPS = {
    "raises NotImplementedError": unfinished,
    "returns the shape [16, 8, 5]": lambda z_t, probs, *rest: probs,
    "it swaps the two": lambda z, p, t, s, process: reverse(z, p, 1 - gone(process, s, t), process),
    "must be scaled": lambda z, p, t, s, process: reverse(z, p, gone(process, s, t), process, scaled=False),
    "divide by 1 − α(t)": lambda z, p, t, s, process: reverse(z, p, wider(process.schedule.gone(s)), process),
    "it uses s/t": lambda z, p, t, s, process: reverse(z, p, wider(s / t), process),
    "it uses the survivals": lambda z, p, t, s, process: reverse(
        z, p, wider(process.schedule.survival(s) / process.schedule.survival(t)), process
    ),
    "opens every mask": lambda z, p, t, s, process: reverse(z, p, torch.zeros(len(t), 1, 1), process),
    "are drawn anew": lambda z, p, t, s, process: reverse(z, p, gone(process, s, t), process, copied=False),
    "add up to 1; yours to 2.000": lambda *arguments: 2 * right_step(*arguments),
    "a token that is open stays as it is": half_copied,
    "the probability of the mask of row": lambda z, p, t, s, process: reverse(z, p, 0.5 * gone(process, s, t), process),
}


def test_the_right_answers_are_found_right(capsys):
    check_mask_tokens(right_mask)
    check_reverse_probs(right_step)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Right: ") for line in lines)


@pytest.mark.parametrize("diagnosis", WRONG_MASKS)
def test_a_wrong_mask_is_diagnosed(diagnosis):
    verdict = verdict_on_mask_tokens(WRONG_MASKS[diagnosis])
    assert diagnosis in verdict
    assert "\n" not in verdict
    assert verdict.startswith("Not ")


@pytest.mark.parametrize("diagnosis", WRONG_STEPS)
def test_a_wrong_step_is_diagnosed(diagnosis):
    verdict = verdict_on_reverse_probs(WRONG_STEPS[diagnosis])
    assert diagnosis in verdict
    assert "\n" not in verdict
    assert verdict.startswith("Not ")
