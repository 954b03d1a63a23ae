"""Profiles of power-function averages against integrals by quadrature and the figures of the paper."""

import numpy as np
import pytest
from scipy import integrate

from diffusion_lab.training.power_profile import gamma_of, reconstruct, width_of


@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94), (0.15, 3.56), (1 / 12**0.5, 0.0)])
def test_the_exponents_of_widths_are_those_of_the_paper(width, gamma):
    assert gamma_of(width) == pytest.approx(gamma, abs=6e-3)
    assert width_of(gamma_of(width)) == pytest.approx(width, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.83, 6.94, 30.3])
def test_the_width_is_the_standard_deviation_of_the_density(gamma):
    def moment(power):
        return integrate.quad(lambda x: (gamma + 1) * x ** (gamma + power), 0, 1)[0]

    assert width_of(gamma) == pytest.approx((moment(2) - moment(1) ** 2) ** 0.5, rel=1e-9)


def density(time, width, x):
    gamma = gamma_of(width)
    return np.where(x <= time, (gamma + 1) / time * (np.minimum(x, time) / time) ** gamma, 0.0)


@pytest.mark.parametrize("width", [0.03, 0.08, 0.2])
def test_the_error_is_the_distance_of_the_profiles(width):
    stored = [(time, one) for time in (300, 600, 900, 1000) for one in (0.05, 0.1)]
    found, error = reconstruct(stored, 1000, width)
    x = (np.arange(200_000) + 0.5) / 200  # the middle of 200 parts of each update
    wanted = density(1000, width, x)
    rest = sum(share * density(*one, x) for share, one in zip(found, stored, strict=True)) - wanted
    assert error == pytest.approx(np.linalg.norm(rest) / np.linalg.norm(wanted), rel=1e-3)
    assert found.sum() == pytest.approx(1)
    for k in range(len(stored)):  # the error rises in whatever direction coefficients move whose sum stays 1
        for change in (-1e-2, 1e-2):
            other = rest + change * (density(*stored[k], x) - density(*stored[k - 1], x))
            assert np.linalg.norm(other) > np.linalg.norm(rest)


def test_a_width_that_is_stored_is_taken_as_it_is():
    found, error = reconstruct([(50, 0.05), (50, 0.1), (100, 0.05), (100, 0.1)], 100, 0.1)
    assert found == pytest.approx([0, 0, 0, 1], abs=1e-6)
    assert error < 1e-5


@pytest.mark.parametrize("width", [0.03, 0.08, 0.12, 0.2])
def test_more_stored_averages_give_a_smaller_error(width):
    errors = []
    for count in (2, 4, 8, 16, 32):
        stored = [(64 * k // count, one) for k in range(1, count + 1) for one in (0.05, 0.1)]
        errors.append(reconstruct(stored, 64, width)[1])
    assert errors == sorted(errors, reverse=True)
    assert errors[-2] < 0.05  # 16 copies, the fewest there are of a longer training
    assert errors[-1] < 0.4 * errors[-2]
