import pytest
import torch
from other_device import elsewhere

from diffusion_lab.metrics.frechet_distance import frechet_distance
from oracles import gaussian_distances


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(mean, covariance, count, seed=0):
    """Points whose sample mean and covariance are these, up to rounding."""
    x = normal(count, len(mean), seed=seed)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T
    return x @ torch.linalg.cholesky(covariance).T + mean


@pytest.fixture(scope="module")
def gaussians():
    """Two Gaussians in four dimensions, whose covariances do not commute."""
    a, b = normal(4, 4, seed=1), normal(4, 4, seed=2)
    return (normal(4, seed=3), a @ a.T + torch.eye(4) / 10), (3 * normal(4, seed=4), b @ b.T + torch.eye(4) / 10)


@pytest.fixture(scope="module")
def sets(gaussians):
    return with_moments(*gaussians[0], 50), with_moments(*gaussians[1], 70, seed=5)


def test_it_is_the_distance_between_two_gaussians(gaussians, sets):
    expected = gaussian_distances.frechet(*(part.numpy() for gaussian in gaussians for part in gaussian))
    assert frechet_distance(*sets) == pytest.approx(expected, rel=1e-10)
    single = [part.float() for part in sets]
    assert frechet_distance(*single) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(*single) == frechet_distance(*(part.double() for part in single))


def test_in_one_dimension_it_is_that_of_means_and_deviations():
    """(μ − μ')² + (σ − σ')²; the deviations have n − 1 in the denominator."""
    assert frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [12.0]])) == pytest.approx(
        7**2 + (2**0.5 - 32**0.5) ** 2
    )


def test_it_is_symmetric_and_does_not_depend_on_the_order(sets):
    real, generated = sets
    value = frechet_distance(real, generated)
    assert frechet_distance(generated, real) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(real.flip(0), generated[torch.randperm(70)]) == pytest.approx(value, rel=1e-10)


def test_two_equal_sets_are_at_no_distance_and_two_of_one_distribution_at_some(sets):
    real, _ = sets
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(normal(50, 4, seed=1), normal(50, 4, seed=2)) > 0.01


def test_features_far_from_zero_lose_no_digits():
    x, y = normal(40, 3, seed=1), normal(40, 3, seed=2)
    assert frechet_distance(x + 1000, y + 1000) == pytest.approx(frechet_distance(x, y), rel=1e-6)


def test_a_generator_that_has_collapsed_has_a_distance():
    real = with_moments(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64) * 4, 30)
    assert frechet_distance(real, torch.ones(5, 3)) == pytest.approx(3 + 12)


def test_it_is_computed_on_this_process_alone_in_a_run_of_several(monkeypatch, sets):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert frechet_distance(*sets) > 0


def test_features_may_lie_on_a_device_without_float64(sets):
    single = [part.float() for part in sets]
    assert frechet_distance(*elsewhere(*single)) == frechet_distance(*single)


def test_it_leaves_torch_s_generator_as_it_was(sets):
    before = torch.get_rng_state()
    frechet_distance(*sets)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (torch.rand(1, 3), torch.rand(5, 3), r"the Fréchet distance needs at least 2 real items, got 1$"),
        (torch.rand(5, 3), torch.rand(0, 3), r"the Fréchet distance needs at least 2 generated items, got 0$"),
        (torch.rand(5, 3), torch.rand(5, 4), r"real and generated features must be of one size, got 3 and 4$"),
        (
            torch.rand(5),
            torch.rand(5, 3),
            r"real features must be floating point of shape \[N, D\], got 5 torch.float32$",
        ),
        (torch.rand(5, 3), torch.ones(5, 3).long(), r"generated features must be floating .* got 5×3 torch.int64$"),
        (torch.rand(5, 0), torch.rand(5, 0), r"real features must be floating point of shape \[N, D\], got 5×0"),
        (torch.ones(5, 3), torch.rand(5, 3), r"all 5 real items have the same features: the extractor does not tell"),
        (
            torch.rand(5, 3),
            torch.rand(5, 3).index_put(
                (torch.tensor([2, 4]), torch.tensor([0, 1])), torch.tensor([torch.nan, torch.inf])
            ),
            r"generated features must be finite: 2 of 5 items hold NaN or infinity, the first of them item 2$",
        ),
    ],
)
def test_sets_that_have_no_distance_are_refused(real, generated, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, generated)
