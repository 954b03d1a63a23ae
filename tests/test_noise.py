import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import stats

from diffusion_lab.noise import Noise, derived_seed, philox

ONES = 0xFFFFFFFF


@pytest.fixture(scope="module")
def many() -> Noise:
    return Noise(torch.arange(20_000), 0, "test")


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, expected, scalar):
    words = philox(counter if scalar else [torch.tensor([c]) for c in counter], key)
    assert tuple(int(word) for word in words) == expected


def test_a_derived_seed_never_changes():
    assert derived_seed(42, "train", 3) == 8009986075504672162
    assert derived_seed(0) == int.from_bytes(hashlib.blake2b(b"(0,)", digest_size=8).digest(), "little")
    assert derived_seed(np.int64(42), "train", np.int32(3)) == derived_seed(42, "train", 3)


def test_the_numbers_of_an_address_never_change():
    """Computed once with Python integers; another process, version or device must give them again."""
    noise = Noise(torch.tensor([5, 2**32 + 5]), 42, "train", 3)
    expected = torch.tensor(
        [[0.8135359022754969, 0.023746464471888995], [0.8125596711705971, 0.7111662761784066]],
        dtype=torch.float64,
    )
    assert torch.equal(noise.uniform((2,)), expected)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 7, 2)])
def test_a_row_has_the_same_numbers_in_any_batch(shape):
    rows = torch.arange(64)
    everything = Noise(rows, 7, "a")
    for some in (rows[:3], rows[17:18], rows.flip(0), torch.tensor([9, 2, 9])):
        alone = Noise(some, 7, "a")
        assert torch.equal(alone.uniform(shape), everything.uniform(shape)[some])
        torch.testing.assert_close(alone.normal(shape), everything.normal(shape)[some], rtol=0, atol=1e-6)


def test_drawing_again_gives_the_same_numbers(many):
    first = many.normal((2,))
    many.uniform((5,))
    assert torch.equal(many.normal((2,)), first)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 7, 2)])
def test_shapes_and_dtypes(shape):
    noise = Noise(torch.arange(4), 0)
    assert noise.normal(shape).shape == noise.uniform(shape).shape == (4, *shape)
    assert noise.normal(shape).dtype == torch.float32
    assert noise.uniform(shape).dtype == torch.float64
    assert Noise(torch.arange(0), 0).normal((3,)).shape == (0, 3)


@pytest.mark.parametrize(
    "other",
    [
        Noise(torch.arange(20_000), 1, "test"),
        Noise(torch.arange(20_000), 0, "tesu"),
        Noise(torch.arange(20_000), 0, "test", 0),
        Noise(torch.arange(20_000) + 20_000, 0, "test"),
        Noise(torch.arange(20_000) + 1, 0, "test"),
        Noise(torch.arange(20_000) + 2**32, 0, "test"),
    ],
    ids=["seed", "path", "longer path", "rows", "next row", "rows above 2**32"],
)
@pytest.mark.parametrize("draw", [Noise.normal, Noise.uniform])
def test_other_seeds_addresses_and_rows_give_unrelated_numbers(many, other, draw):
    a, b = draw(many, (2,)).double().T, draw(other, (2,)).double().T
    correlation = torch.corrcoef(torch.cat([a, b]))[:2, 2:]
    assert correlation.abs().max() < 4 / 20_000**0.5
    assert (a == b).double().mean() < 1e-3


@pytest.mark.parametrize("draw", [Noise.normal, Noise.uniform])
def test_positions_of_a_row_are_unrelated(many, draw):
    """Their squares and signs too, since the pairs of Box and Muller share a radius and an angle."""
    x = draw(many, (9,)).double().T
    x = x - x.mean(1, keepdim=True)
    for feature in (x, x.square(), x.abs(), x.sign()):
        off_diagonal = torch.corrcoef(feature) - torch.eye(9)
        assert off_diagonal.abs().max() < 4.5 / 20_000**0.5


def test_normal_is_standard_normal(many):
    x = many.normal((5,)).double().flatten()
    n = len(x)
    assert abs(x.mean()) < 4 / n**0.5
    assert abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert x.abs().max() < 6.7
    assert stats.kstest(x.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("word", "expected"),
    [(0, [math.sqrt(64 * math.log(2)), 0]), (2**30, [0, math.sqrt(4 * math.log(2))]), (2**32 - 1, [0, 0])],
)
def test_normal_is_that_of_box_and_muller_and_finite_for_every_word(monkeypatch, word, expected):
    """The logarithm of a uniform number that is 0 would be −∞; one in 2**32 of them is."""
    monkeypatch.setattr(Noise, "_words", lambda self, per_row: (torch.full((1, 1), word),) * 4)
    x = Noise(torch.arange(1), 0).normal((4,))
    assert x[0].tolist() == pytest.approx(expected * 2, abs=1e-5)
    assert (x.abs() < 6.7).all()


@pytest.mark.parametrize(("word", "expected"), [(0, 0.0), (2**32 - 1, 1 - 2.0**-53)])
def test_uniform_is_below_1_for_every_word(monkeypatch, word, expected):
    monkeypatch.setattr(Noise, "_words", lambda self, per_row: (torch.full((1, 1), word),) * 4)
    assert Noise(torch.arange(1), 0).uniform((2,)).tolist() == [[expected, expected]]


def test_uniform_is_uniform_on_the_half_open_interval(many):
    u = many.uniform((5,)).flatten()
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / (12 * len(u)) ** 0.5
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


def test_uniform_fills_all_53_bits(many):
    bits = (many.uniform((5,)).flatten() * 2.0**53).long()
    assert torch.equal(bits.double() * 2.0**-53, many.uniform((5,)).flatten())
    share = np.array([((bits >> k) & 1).double().mean() for k in range(53)])
    assert np.abs(share - 0.5).max() < 4 * 0.5 / len(bits) ** 0.5


def test_rows_above_2_to_the_32_are_rows_of_their_own():
    rows = torch.tensor([3, 2**32 + 3, 2**33 + 3, 3 * 2**32, 2**63 - 1])
    draws = Noise(rows, 0).uniform()
    assert len(draws.unique()) == len(rows)
    assert torch.equal(Noise(rows[1:2], 0).uniform(), draws[1:2])


def test_at_leads_to_another_address_and_leaves_its_parent_alone():
    rows = torch.arange(8)
    parent = Noise(rows, 0, "a")
    before = parent.uniform()
    child = parent.at("b", 1)
    assert not torch.equal(child.uniform(), before)
    assert torch.equal(parent.uniform(), before)
    assert torch.equal(child.uniform(), Noise(rows, 0, "a", "b", 1).uniform())
    assert torch.equal(child.uniform(), parent.at("b").at(1).uniform())


def test_paths_that_read_alike_are_different_addresses():
    rows = torch.arange(8)
    paths = [("a", 1), ("a1",), ("a", "1"), ("a", 1, ""), (1, "a"), ("a", 11), ("a", 1, 1)]
    draws = [tuple(Noise(rows, 0, *path).uniform().tolist()) for path in paths]
    assert len(set(draws)) == len(paths)
