import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.processes import block_times, position_times

NOISE = Noise(torch.arange(3000), 0)


def test_a_sample_has_one_time_in_each_stratum():
    t = 1 - NOISE.at("t").uniform()
    times = block_times(t, 4, None, NOISE.at("order"))
    assert times.shape == (3000, 4)
    assert torch.equal((times * 4).ceil().sort(1).values, torch.arange(1.0, 5.0, dtype=torch.float64).expand(3000, 4))
    torch.testing.assert_close((times * 4) % 1, (t % 1)[:, None].expand(3000, 4))
    for block in times.T:  # each is uniform, whatever the others are
        assert float(block.mean()) == pytest.approx(0.5, abs=0.02)
        assert float(block.var()) == pytest.approx(1 / 12, abs=0.005)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_in_steps_every_row_is_equally_likely(steps):
    rows = (torch.arange(3000) % steps + 1).double() / steps
    times = block_times(rows, 4, steps, NOISE)
    found = torch.bincount((times * steps).round().long().flatten() - 1, minlength=steps)
    assert len(found) == steps
    assert bool(((found / 12_000 - 1 / steps).abs() < 0.02).all())
    assert times.dtype == torch.float64
    for beyond in (0.0, 2.0):  # the last bit of a row says nothing
        nearly = torch.nextafter(rows, torch.full_like(rows, beyond))
        assert torch.equal(block_times(nearly, 4, steps, NOISE), times)


@pytest.mark.parametrize("steps", [None, 7])
def test_one_block_has_the_time_of_the_sample_to_the_bit(steps):
    t = 1 - NOISE.at("t").uniform() if steps is None else (torch.arange(3000) % 7 + 1).double() / 7
    z = torch.zeros(3000, 6, dtype=torch.int64)
    assert torch.equal(block_times(t, 1, steps, NOISE), t[:, None])
    assert position_times(t, None, z, steps, NOISE) is t
    assert torch.equal(position_times(t, 6, z, steps, NOISE), t[:, None].expand(3000, 6))
    in_twos = position_times(t, 2, z, steps, NOISE)
    assert torch.equal(in_twos[:, ::2], in_twos[:, 1::2])
