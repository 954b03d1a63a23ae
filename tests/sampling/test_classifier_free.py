import math

import pytest
import torch
from torch import nn

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps, GaussianPrediction
from diffusion_lab.processes import Absorbing, Gaussian, per_sample
from diffusion_lab.sampling import DDIM, ClassifierFree, draw
from diffusion_lab.sampling.grids import UniformLogSNR
from diffusion_lab.schedules import CosineSchedule, LogLinearSchedule
from oracles import finite_data

PROCESS = Gaussian(CosineSchedule())
#: Two classes, each of which is two points of the plane; label 2 is either.
POINTS = torch.tensor([[[-1.0, 0.5], [-0.5, -1.0]], [[1.0, 0.5], [0.8, -1.0]]], dtype=torch.float64)


class Labelled(nn.Module):
    condition = "label"
    condition_dropout = 0.1


def exact(z, t, condition):
    """E[x0 | z, label]."""
    alpha, sigma = (per_sample(of(t), z) for of in (PROCESS.schedule.alpha, PROCESS.schedule.sigma))
    found = torch.empty_like(z)
    for label, points in enumerate([*POINTS, POINTS.flatten(0, 1)]):
        of_label = condition == label
        found[of_label] = finite_data.expected_data(z[of_label], alpha[of_label], sigma[of_label], points)
    return GaussianPrediction.of(PROCESS, z, t, found, "x0")


def guidance(**arguments):
    return ClassifierFree(PROCESS, Labelled(), 2, **arguments)


def states():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 2, dtype=torch.float64, generator=generator), torch.tensor([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_noise_and_score_are_guided_as_the_data_is(scale):
    """Ho & Salimans 2022, eq. 6, in this project's scale: w = 1 is the plain conditional prediction."""
    z, labels = states()
    t = torch.full((6,), 0.6, dtype=torch.float64)
    found = guidance(scale=scale)(exact)(z, t, labels)
    given, free = exact(z, t, labels), exact(z, t, torch.full_like(labels, 2))
    for form in ("x0", "eps", "v", "score"):
        c, u = getattr(given, form), getattr(free, form)
        torch.testing.assert_close(getattr(found, form), u + scale * (c - u), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("scale", "evaluations"), [(1.0, 1), (0.0, 2), (2.0, 2)])
def test_a_guided_sample_costs_two_evaluations_and_one_that_is_not_costs_one(scale, evaluations):
    plain = Denoiser(Zero(), Eps(PROCESS))
    guidance(scale=scale)(plain)(torch.zeros(5, 2), torch.full((5,), 0.5).double(), torch.zeros(5, dtype=torch.int64))
    assert plain.evaluations == 5 * evaluations


class Zero(Labelled):
    def forward(self, x, c_noise, condition):
        return torch.zeros_like(x)


def test_it_guides_within_its_interval_of_the_log_snr_only():
    z, labels = states()
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    log_snr = PROCESS.schedule.log_snr(t)
    low, high = float(log_snr[4]), float(log_snr[1])
    found = guidance(scale=4.0, min_log_snr=low, max_log_snr=high)(exact)(z, t, labels).x0
    guided, given = guidance(scale=4.0)(exact)(z, t, labels).x0, exact(z, t, labels).x0
    inside = torch.tensor([False, True, True, True, True, False])
    torch.testing.assert_close(found, torch.where(inside[:, None], guided, given))


def test_rescaling_gives_the_guided_data_the_spread_that_it_has_without_guidance():
    z, labels = states()
    t = torch.full((6,), 0.6, dtype=torch.float64)
    given, guided = exact(z, t, labels).x0, guidance(scale=5.0)(exact)(z, t, labels).x0
    full, half = (guidance(scale=5.0, rescale=r)(exact)(z, t, labels).x0 for r in (1.0, 0.5))
    torch.testing.assert_close(full.std(1, correction=0), given.std(1, correction=0))
    torch.testing.assert_close(half, (full + guided) / 2)


def test_rescaling_leaves_constant_data_as_it_is():
    """As that of a new network, whose output is 0, where no signal is left."""

    def constant(z, t, condition):
        return GaussianPrediction.of(PROCESS, z, t, torch.full_like(z, 0.25), "x0")

    z, labels = states()
    found = guidance(scale=5.0, rescale=0.7)(constant)(z, torch.ones(6).double(), labels).x0
    assert found.unique().tolist() == [0.25]


def mean_distance_to_the_other_class(scale):
    rows = torch.arange(400)
    noise, labels = Noise(rows, 0, "cfg"), rows % 2
    start = PROCESS.prior((2,), noise.at("prior")).double()
    sampler = DDIM(PROCESS, UniformLogSNR(PROCESS.schedule), 60)
    samples = draw(guidance(scale=scale)(exact), sampler, start, noise, labels)
    distances = torch.cdist(samples[:, None], POINTS[1 - labels]).amin((1, 2))
    right = torch.cdist(samples[:, None], POINTS[labels]).amin((1, 2)) < 0.1
    return float(distances.mean()), float(right.double().mean())


def test_on_a_mixture_of_points_the_label_is_heeded_and_more_of_it_leads_away_from_the_other():
    """With the exact denoiser, w = 1 draws the points of the class, w = 0 those of both; w = 3 keeps off the other."""
    (_, free), (plain, right), (strong, _) = (mean_distance_to_the_other_class(scale) for scale in (0.0, 1.0, 3.0))
    assert free == pytest.approx(0.5, abs=0.08)
    assert right > 0.97
    assert strong > plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": -1.0}, r"guidance\.scale must be 0 or more"),
        ({"scale": math.inf}, r"guidance\.scale must be 0 or more and finite, got inf"),
        ({"rescale": 1.5}, r"guidance\.rescale must lie between 0 and 1"),
        ({"min_log_snr": 3.0, "max_log_snr": 3.0}, r"guidance\.min_log_snr must be below"),
        ({"min_log_snr": math.nan}, r"guidance\.min_log_snr must be below"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        guidance(**arguments)


def test_a_network_without_labels_or_without_a_null_label_is_refused():
    with pytest.raises(ValueError, match="needs a network that takes labels, and Linear takes none"):
        ClassifierFree(PROCESS, nn.Linear(1, 1), 2)
    zero, unsaid = Labelled(), nn.Identity()
    zero.condition_dropout = 0.0
    unsaid.condition = "label"
    for network in (zero, unsaid):
        with pytest.raises(ValueError, match=r"trained without some labels: take network\.condition_dropout above 0"):
            ClassifierFree(PROCESS, network, 2)


def test_rescaling_is_for_numbers():
    process = Absorbing(LogLinearSchedule(), 3)
    assert ClassifierFree(process, Labelled(), 2).rescale == 0
    with pytest.raises(ValueError, match=r"guidance\.rescale is for a Gaussian process: take guidance\.rescale=0"):
        ClassifierFree(process, Labelled(), 2, rescale=0.5)
