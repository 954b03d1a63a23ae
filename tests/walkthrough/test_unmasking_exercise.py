"""Each mistake in the reverse step of masked diffusion is told by its name."""

import pytest
import torch

from diffusion_lab.walkthrough import check_reverse_probs


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
    "Not written yet: <lambda>": lambda *arguments: ...,
    "and has [16, 8, 5]": lambda z_t, probs, *rest: probs,
    "it swaps the two": lambda z, p, t, s, process: reverse(z, p, 1 - gone(process, s, t), process),
    "are not multiplied by that of opening": lambda z, p, t, s, process: reverse(
        z, p, gone(process, s, t), process, scaled=False
    ),
    "divide by 1 − α(t)": lambda z, p, t, s, process: reverse(z, p, wider(process.schedule.gone(s)), process),
    "it uses s/t": lambda z, p, t, s, process: reverse(z, p, wider(s / t), process),
    "it uses the survivals": lambda z, p, t, s, process: reverse(
        z, p, wider(process.schedule.survival(s) / process.schedule.survival(t)), process
    ),
    "opens every mask": lambda z, p, t, s, process: reverse(z, p, torch.zeros(len(t), 1, 1), process),
    "are drawn anew": lambda z, p, t, s, process: reverse(z, p, gone(process, s, t), process, copied=False),
    "add up to 2.000, and must to 1": lambda *arguments: 2 * right_step(*arguments),
    "a token that is open stays what it is": half_copied,
    "the mask of row": lambda z, p, t, s, process: reverse(z, p, 0.5 * gone(process, s, t), process),
}


def said(capsys, function):
    right = check_reverse_probs(function)
    out, err = capsys.readouterr()
    assert not err
    (line,) = out.splitlines()
    assert right == line.startswith("Right: ")
    return line


def test_the_posterior_of_the_library_is_right(capsys):
    assert said(capsys, right_step).startswith("Right: the same probabilities")


@pytest.mark.parametrize("diagnosis", WRONG_STEPS)
def test_a_mistake_is_told_by_its_name(capsys, diagnosis):
    line = said(capsys, WRONG_STEPS[diagnosis])
    assert diagnosis in line
    assert line.startswith("Not ")
