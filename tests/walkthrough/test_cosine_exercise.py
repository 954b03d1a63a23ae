"""Each mistake in the cosine schedule is told by its name."""

import math

import pytest
import torch

from diffusion_lab.walkthrough import check_cosine_schedule


def schedule(
    time=lambda t, steps: t / steps,
    angle=lambda x: (x + 0.008) / (1.008) * math.pi / 2,
    f=lambda angle: torch.cos(angle) ** 2,
    alpha_bars=lambda f: f / f[0],
    betas=lambda a: (1 - a[1:] / a[:-1]).clamp(max=0.999),
    dtype=torch.float64,
):
    """A cosine schedule, any part of which can be another."""

    def cosine_schedule(steps):
        values = alpha_bars(f(angle(time(torch.arange(steps + 1, dtype=dtype), steps))))
        return values, betas(values)

    return cosine_schedule


def said(capsys, function):
    right = check_cosine_schedule(function)
    out, err = capsys.readouterr()
    assert not err
    (line,) = out.splitlines()
    assert right == line.startswith("Right: ")
    return line


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_schedule_of_the_paper_is_right(capsys, dtype):
    line = said(capsys, schedule(dtype=dtype))
    assert line.startswith("Right: for T = 200 it agrees with diffusion_lab.schedules.CosineSchedule, ᾱ to ")


@pytest.mark.parametrize(
    ("mistaken", "expected"),
    [
        (schedule(alpha_bars=lambda f: f), "f is not divided by f(0)"),
        (schedule(angle=lambda x: x * math.pi / 2), "the offset s is missing"),
        (schedule(angle=lambda x: (x + 0.008) * math.pi / 2), "t/T + s is not divided by 1 + s"),
        (schedule(angle=lambda x: (x + 0.008) / 1.008), "π/2 is missing in the cosine"),
        (schedule(angle=lambda x: (x + 0.008) / 1.008 * math.pi), "π stands where π/2 belongs"),
        (schedule(f=lambda angle: torch.sin(angle) ** 2), "the sine stands where the cosine belongs"),
        (schedule(f=lambda angle: torch.sin(angle) ** 2, alpha_bars=lambda f: f), "the sine stands where"),
        (schedule(f=torch.cos), "the square is missing"),
        (schedule(time=lambda t, steps: t), "t is not divided by T"),
        (schedule(alpha_bars=lambda f: 1 - f / f[0], betas=lambda a: a[1:]), "these are the 1 − ᾱ"),
        (schedule(time=lambda t, steps: (t + 1) / steps, betas=lambda a: a[1:]), "t runs from 1 to T + 1"),
        (schedule(time=lambda t, steps: t / (steps + 1)), "t is divided by T + 1"),
        (schedule(alpha_bars=lambda f: (f / f[0])[1:]), "alpha_bars has T = 200 values, and T + 1 are needed"),
        (schedule(alpha_bars=lambda f: f * 0.9), "ᾱ_0 is 0.8999, and must be 1"),
        (schedule(f=lambda angle: torch.cos(angle) ** 3), "ᾱ_1 is 0.99"),
        (schedule(betas=lambda a: 1 - a[1:] / a[:-1]), "they are not clipped at 0.999: the last β is 1"),
        (schedule(betas=lambda a: (1 - a[1:] / a[:-1]).clamp(max=0.02)), "they are clipped at 0.02"),
        (schedule(betas=lambda a: a[1:]), "betas are the alpha_bars again"),
        (schedule(betas=lambda a: a), "betas are the alpha_bars again"),
        (schedule(betas=lambda a: 1 - a[1:]), "these are the 1 − ᾱ_t"),
        (schedule(betas=lambda a: (1 - a[1:]).clamp(max=0.999)), "these are the 1 − ᾱ_t"),
        (schedule(betas=lambda a: a[1:] / a[:-1]), "these are the α_t"),
        (schedule(betas=lambda a: (1 - a[1:] / a[:-1]).clamp(max=0.999).sqrt()), "the square root was taken"),
        (schedule(betas=lambda a: (1 - a[:-1] / a[1:].clamp(min=1e-9)).clamp(max=0.999)), "the ratio is upside down"),
        (schedule(betas=lambda a: torch.cat([a[:1], a[1:]]) * 0.5), "betas has T + 1 = 201 values"),
        (schedule(betas=lambda a: a[2:]), "betas must have the shape [200], and has [199]"),
        (schedule(betas=lambda a: a[1:] / 0), "betas holds numbers that are not finite"),
        (schedule(betas=lambda a: (1 - a[1:] / a[:-1]).clamp(max=0.999) * 2), "β_1 is 0.00"),
        (lambda steps: torch.zeros(steps), "it must return two tensors, alpha_bars and betas, and returns Tensor"),
        (lambda steps: (torch.zeros(steps + 1) / 0, None), "alpha_bars holds numbers that are not finite"),
        (lambda steps: math.sqrt(-steps), "<lambda> raised ValueError: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named(capsys, mistaken, expected):
    line = said(capsys, mistaken)
    assert line.startswith("Not yet: ")
    assert expected in line


@pytest.mark.parametrize("function", [lambda steps: None, lambda steps: (None, None), lambda steps: (..., ...)])
def test_an_exercise_that_was_not_begun_is_no_mistake(capsys, function):
    assert said(capsys, function).startswith("Not written yet: ")
