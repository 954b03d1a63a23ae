"""Each mistake in the masking of a sequence is told by its name."""

import pytest
import torch

from diffusion_lab.walkthrough import check_mask_tokens


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
    "Not written yet: unfinished returns nothing": unfinished,
    "Not written yet: <lambda>": lambda *arguments: None,
    "raised RuntimeError": lambda tokens, t, u, process: torch.where(u < t, tokens, process.mask),
    "is of type list": lambda tokens, *rest: tokens.tolist(),
    "and has [64]": lambda tokens, *rest: tokens[:, 0],
    "changes tokens, which it was given": in_place,
    "masks the tokens that survive": masked_where(lambda t, u, survival: u < survival),
    "shares one uniform number": masked_where(lambda t, u, survival: (u[:, :1] >= survival).expand_as(u)),
    "masks with probability t": masked_where(lambda t, u, survival: u >= 1 - t),
    "uses t where α(t) belongs": masked_where(lambda t, u, survival: u >= t),
    "the last token stands where": masked_where(lambda t, u, survival: u >= survival, lambda process: process.mask - 1),
    "token 0 stands where": masked_where(lambda t, u, survival: u >= survival, lambda process: 0),
    "by the time of the first": masked_where(lambda t, u, survival: u >= survival[:1]),
    "becomes 77, where it is": lambda tokens, t, u, process: torch.full_like(tokens, 77),
}


def said(capsys, function):
    right = check_mask_tokens(function)
    out, err = capsys.readouterr()
    assert not err
    (line,) = out.splitlines()
    assert right == line.startswith("Right: ")
    return line


def test_the_masking_of_the_library_is_right(capsys):
    assert said(capsys, right_mask).startswith("Right: the same states")


@pytest.mark.parametrize("diagnosis", WRONG_MASKS)
def test_a_mistake_is_told_by_its_name(capsys, diagnosis):
    line = said(capsys, WRONG_MASKS[diagnosis])
    assert diagnosis in line
    assert line.startswith("Not ")
