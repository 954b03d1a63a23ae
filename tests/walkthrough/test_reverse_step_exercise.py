"""Each mistake in the reverse step is told by its name."""

import pytest
import torch

from diffusion_lab.walkthrough import check_reverse_step


def step(of_x=None, of_eps=None, of_z=None, at_zero=0.0, shift=0):
    """A reverse step, with other factors than the right ones where functions of beta and alpha_bar are given.

    `of_eps` is the factor within the bracket, which is divided by √α.
    """

    def reverse_step(x, eps, i, z, betas, alpha_bars):
        beta, alpha_bar = betas[i + shift], alpha_bars[i + shift]
        a = (1 - beta) ** -0.5 if of_x is None else of_x(beta, alpha_bar)
        b = beta / (1 - alpha_bar).sqrt() if of_eps is None else of_eps(beta, alpha_bar)
        c = beta.sqrt() if of_z is None else of_z(beta, alpha_bar)
        c = c if i > 0 else at_zero
        return a * x - b * (1 - beta) ** -0.5 * eps + c * z

    return reverse_step


def said(capsys, function):
    right = check_reverse_step(function)
    out, err = capsys.readouterr()
    assert not err
    (line,) = out.splitlines()
    assert right == line.startswith("Right: ")
    return line


def test_the_step_of_the_paper_is_right(capsys):
    line = said(capsys, step())
    assert line.startswith("Right: at i = 500, 999, 1 and 0 it agrees with diffusion_lab.sampling.Ancestral to ")
    assert float(line.split()[-1].rstrip(".")) < 1e-13


def test_a_state_that_is_changed_in_place_is_told(capsys):
    def in_place(x, eps, *rest):
        return x.sub_(eps)

    assert "it changes x, which it was given" in said(capsys, in_place)


def test_single_precision_is_enough(capsys):
    def in_single(x, eps, i, z, betas, alpha_bars):
        return step()(x.float(), eps.float(), i, z.float(), betas.float(), alpha_bars.float())

    assert said(capsys, in_single).startswith("Right: ")


def one_over_sqrt(x):
    return 1 / x.sqrt()


def before(beta, alpha_bar):
    return alpha_bar / (1 - beta)


@pytest.mark.parametrize(
    ("mistaken", "expected"),
    [
        (step(of_z=lambda b, a: 0), "at i = 500, the new noise is missing"),
        (step(at_zero=0.01), "at i = 0, new noise is added: the last step"),
        (step(of_eps=lambda b, a: b / b.sqrt()), "at i = 500, eps is divided by √(1 − α): take √(1 − ᾱ)"),
        (step(of_x=lambda b, a: one_over_sqrt(a)), "at i = 500, x is divided by √ᾱ"),
        (step(of_x=lambda b, a: 1 / a), "at i = 500, x is divided by ᾱ"),
        (step(of_x=lambda b, a: 1, of_eps=lambda b, a: b / (1 - a).sqrt() * (1 - b).sqrt()), "x is not divided by √α"),
        (step(of_x=lambda b, a: 1 / (1 - b)), "x is divided by α: the square root is missing"),
        (step(of_x=lambda b, a: (1 - b).sqrt()), "x is multiplied by √α"),
        (step(of_x=lambda b, a: one_over_sqrt(b)), "x is divided by √β"),
        (step(of_x=lambda b, a: 0), "x itself is missing"),
        (step(of_eps=lambda b, a: -b / (1 - a).sqrt()), "a sign is wrong"),
        (step(of_eps=lambda b, a: b / (1 - a)), "eps is divided by 1 − ᾱ: the square root is missing"),
        (step(of_eps=lambda b, a: b.sqrt() / (1 - a).sqrt()), "eps is multiplied by √β"),
        (step(of_eps=lambda b, a: b / a.sqrt()), "eps is divided by √ᾱ"),
        (step(of_eps=lambda b, a: b), "eps is not divided by √(1 − ᾱ)"),
        (step(of_eps=lambda b, a: b / (1 - a).sqrt() * (1 - b).sqrt()), "1/√α multiplies x alone"),
        (step(of_eps=lambda b, a: (1 - a).sqrt()), "takes all noise away at once"),
        (step(of_eps=lambda b, a: 1), "eps is subtracted as a whole"),
        (step(of_eps=lambda b, a: 0), "eps is not used"),
        (step(of_z=lambda b, a: b), "z is multiplied by β, the variance: take its square root"),
        (step(of_z=lambda b, a: 1), "z is not multiplied by √β"),
        (step(of_z=lambda b, a: (b / (1 - b)).sqrt()), "z stands in the bracket"),
        (step(of_z=lambda b, a: (b * (1 - before(b, a)) / (1 - a)).sqrt()), "the variance is β̃"),
        (step(of_z=lambda b, a: (1 - a).sqrt()), "z is multiplied by √(1 − ᾱ)"),
        (step(of_z=lambda b, a: -b.sqrt()), "z is subtracted"),
        (step(of_eps=lambda b, a: 0.3), "at i = 500, the factor of eps is -0.30"),
        (step(shift=-1), "at i = 500, it takes betas and alpha_bars at index 499"),
        (lambda x, eps, i, z, betas, alpha_bars: step(shift=i < 999)(x, eps, i, z, betas, alpha_bars), "at index 501"),
        (lambda x, eps, i, z, b, a: step()(x, eps, i, torch.randn_like(z), b, a), "it draws noise of its own"),
        (lambda x, eps, i, z, b, a: step()(x, eps, i, z, b, a).clamp(-1, 1), "it is not a sum of x, eps and z"),
        (lambda x, eps, i, z, b, a: step()(x, eps, i, z, b, a)[0], "must have the shape [2, 1, 8, 8], and has [1"),
        (lambda x, eps, i, z, b, a: step()(x, eps, i, z, b, a) / 0, "holds numbers that are not finite"),
        (lambda x, eps, i, z, b, a: 3, "must be a tensor, and is of type int"),
        (lambda x, eps, i, z, b, a: x[7], "<lambda> raised IndexError: "),
        (lambda x, eps: x, "<lambda> raised TypeError: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named(capsys, mistaken, expected):
    line = said(capsys, mistaken)
    assert line.startswith("Not yet: ")
    assert expected in line


def empty(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("function", [lambda *arguments: None, lambda *arguments: ..., empty])
def test_an_exercise_that_was_not_begun_is_no_mistake(capsys, function):
    assert said(capsys, function).startswith("Not written yet: ")
