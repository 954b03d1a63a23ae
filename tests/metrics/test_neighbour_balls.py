import numpy as np
import pytest
import torch

from diffusion_lab.metrics.neighbour_balls import NeighbourBalls, density_coverage, precision_recall


def line(*places):
    return torch.tensor(places, dtype=torch.float32)[:, None]


def normal(count, seed, size=4):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def both(real, generated, k):
    return precision_recall(NeighbourBalls.around(real, k), NeighbourBalls.around(generated, k))


def brute_force(real, generated, k):
    """Precision, recall, density and coverage, one pair after the other."""

    def radius(i, items):
        return sorted(np.linalg.norm(items[i] - other) for j, other in enumerate(items) if j != i)[k - 1]

    def holds(centres):
        radii = [radius(i, centres) for i in range(len(centres))]
        return lambda point: [np.linalg.norm(point - c) <= r for c, r in zip(centres, radii, strict=True)]

    x, y = real.double().numpy(), generated.double().numpy()
    in_real = np.array([holds(x)(point) for point in y])  # [generated, real]
    in_generated = np.array([holds(y)(point) for point in x])
    return (
        in_real.any(1).mean(),
        in_generated.any(1).mean(),
        in_real.sum() / (k * len(y)),
        in_real.any(0).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_all_four_are_those_of_brute_force(k, shift):
    real, generated = normal(30, 1), 0.7 * normal(20, 2) + shift
    pair, density = both(real, generated, k), density_coverage(NeighbourBalls.around(real, k), generated)
    found = (pair.precision, pair.recall, density.density, density.coverage)
    assert found == pytest.approx(brute_force(real, generated, k), abs=1e-12)


def test_sets_with_a_known_answer():
    """Real items one apart, and balls of radius 1: three generated items lie in 2, 2 and 0 of them."""
    real, generated = line(0, 1, 2, 3, 4), line(0.5, 1.5, 90)
    pair = both(real, generated, 1)
    assert pair.precision == pytest.approx(2 / 3)
    # Balls of radius 1 around 0.5 and 1.5, and one around 90 that reaches 1.5.
    assert pair.recall == 1  # 0, 1 and 2 by the first two, and 2, 3 and 4 by the last
    found = density_coverage(NeighbourBalls.around(real, 1), generated)
    assert found.density == pytest.approx((2 + 2 + 0) / 3)
    assert found.coverage == pytest.approx(3 / 5)  # 0, 1 and 2


def test_a_set_against_itself_is_perfect():
    x = normal(30, 0)
    pair, found = both(x, x, 3), density_coverage(NeighbourBalls.around(x, 5), x)
    assert (pair.precision, pair.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(6 / 5)  # its k neighbours, and the centre


def test_sets_far_apart_have_nothing_in_common():
    x = normal(30, 0)
    pair, found = both(x, x + 100, 3), density_coverage(NeighbourBalls.around(x, 5), x + 100)
    assert (pair.precision, pair.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_one_mode_of_two_is_precise_and_covers_half():
    real = torch.cat([normal(40, 0), normal(40, 1) + 50])
    pair, found = both(real, normal(40, 0), 3), density_coverage(NeighbourBalls.around(real, 5), normal(40, 0))
    assert (pair.precision, pair.recall, found.coverage) == (1, 0.5, 0.5)


def test_precision_and_recall_swap_with_the_sets_and_no_measure_depends_on_the_order():
    real, generated = normal(30, 1), 0.7 * normal(20, 5) + 1
    pair, swapped = both(real, generated, 3), both(generated, real, 3)
    assert 0 < pair.recall < pair.precision < 1
    assert (swapped.precision, swapped.recall) == (pair.recall, pair.precision)
    assert both(real.flip(0), generated.flip(0), 3) == pair
    assert density_coverage(NeighbourBalls.around(real.flip(0), 3), generated.flip(0)) == density_coverage(
        NeighbourBalls.around(real, 3), generated
    )


def test_a_point_on_the_rim_lies_within_whatever_the_rounding():
    """Features as of a network, whose squared lengths are far larger than the distances."""
    real = 30 + 0.01 * normal(200, 0, size=64)
    balls = NeighbourBalls.around(real, 1)
    nearest = torch.cdist(real.double(), real.double()).fill_diagonal_(torch.inf).argmin(1)
    _, held = balls.count(real[nearest])
    assert (held > 0).all()
    for i in range(5):
        assert balls.count(real[nearest[i]][None])[1][i] == 1


def test_duplicates_are_neighbours_at_no_distance():
    balls = NeighbourBalls.around(line(0, 0, 0, 5, 9), 2)
    assert balls.radii.tolist() == [0, 0, 0, 5, 9]
    balls_of_point, points_of_ball = balls.count(line(0, 1, 20))
    assert balls_of_point.tolist() == [5, 2, 0]
    assert points_of_ball.tolist() == [1, 1, 1, 2, 2]


def test_a_generator_that_has_collapsed_has_its_measures():
    real, generated = normal(30, 0), torch.zeros(10, 4)
    pair, found = both(real, generated, 3), density_coverage(NeighbourBalls.around(real, 5), generated)
    assert (pair.precision, pair.recall) == (1, 0)
    assert 0 < found.coverage < 1


def test_two_sets_of_one_distribution_have_a_density_around_1():
    found = density_coverage(NeighbourBalls.around(normal(1000, 0), 5), normal(1000, 1))
    assert found.density == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(1 - 2.0**-5, abs=0.02)  # 1 − ½^k of equal sets (the paper's equation 9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NeighbourBalls.around(normal(3, 0), 3), r"neighbours with k=3 needs at least 4 .* items, got 3$"),
        (lambda: NeighbourBalls.around(normal(3, 0), 0), r"^k must be at least 1, got 0$"),
        (lambda: NeighbourBalls.around(normal(3, 0) / 0, 1), r"features must be finite: 3 of 3 items"),
        (lambda: both(torch.ones(9, 4), normal(9, 0), 3), r"^all 9 real items have the same features"),
        (lambda: both(normal(9, 0), normal(9, 0, size=3), 3), r"must be of one size, got 4 and 3$"),
        (
            lambda: density_coverage(NeighbourBalls.around(normal(9, 0), 5), normal(0, 0)),
            r"^density and coverage needs at least 1 generated items, got 0$",
        ),
    ],
)
def test_sets_without_balls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
