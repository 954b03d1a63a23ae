import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from diffusion_lab.codecs import Pixels
from diffusion_lab.distributions import Normal
from diffusion_lab.errors import LabError
from diffusion_lab.figures import Sheet


def test_pixels_are_their_own_code():
    x = torch.linspace(-1, 1, 8).reshape(2, 1, 2, 2)
    assert torch.equal(Pixels().encode(x), x)
    assert torch.equal(Pixels().decode(Pixels().encode(x)), x)
    assert Pixels().code_shape((1, 28, 28)) == (1, 28, 28)
    assert Pixels(3).provides() == {"in_channels": 3}


def test_what_is_no_image_is_clipped():
    z = torch.tensor([[[[-3.0, -1.0, 0.2, 1.5]]]])
    assert torch.equal(Pixels().decode(z), torch.tensor([[[[-1.0, -1.0, 0.2, 1.0]]]]))


VALUES = torch.arange(256).float().reshape(256, 1, 1, 1) / 127.5 - 1


@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.3), (-1.0, 0.05), (0.9, 2.0), (3.0, 0.5)])
def test_the_probabilities_of_all_256_values_sum_to_1(mean, std):
    normal = Normal(torch.full_like(VALUES, mean), torch.full_like(VALUES, std))
    assert float(Pixels().log_likelihood(VALUES, normal).exp().sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("value", [0, 1, 100, 254, 255])
@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.3), (-0.97, 0.01)])
def test_a_value_has_the_probability_of_its_interval(value, mean, std):
    """Ho et al. 2020, eq. 13, with open intervals at the ends."""
    x = value / 127.5 - 1
    low = -np.inf if value == 0 else x - 1 / 255
    high = np.inf if value == 255 else x + 1 / 255
    distribution = stats.norm(mean, std)
    # The survival function keeps the digits above the mean.
    expected = max(distribution.cdf(high) - distribution.cdf(low), distribution.sf(low) - distribution.sf(high))
    normal = Normal(torch.full((1, 1, 1, 1), mean).double(), torch.full((1, 1, 1, 1), std).double())
    found = Pixels().log_likelihood(VALUES[value : value + 1], normal)
    if expected > 1e-300:
        assert float(found) == pytest.approx(np.log(expected), rel=1e-4)


def test_far_from_the_mean_the_logarithm_keeps_its_digits():
    """A hundred standard deviations away, where every difference of probabilities is 0."""
    for value, mean in ((0, 1.0), (255, -1.0), (128, 2.0), (128, -2.0)):
        normal = Normal(torch.full((1, 1, 1, 1), mean), torch.full((1, 1, 1, 1), 0.02))
        found = float(Pixels().log_likelihood(VALUES[value : value + 1], normal))
        x = float(VALUES[value])
        near = x + (1 / 255 if mean > x else -1 / 255)
        assert found == pytest.approx(float(stats.norm.logsf(abs(mean - near) / 0.02)), rel=1e-3)


def test_likelihoods_are_summed_over_a_sample():
    x = VALUES[[3, 200, 77, 130]].reshape(2, 1, 1, 2)
    normal = Normal(torch.zeros_like(x), torch.ones_like(x))
    each = Pixels().log_likelihood(x.reshape(4, 1, 1, 1), Normal(torch.zeros(4, 1, 1, 1), torch.ones(4, 1, 1, 1)))
    torch.testing.assert_close(Pixels().log_likelihood(x, normal), each.reshape(2, 2).sum(1))


def test_samples_that_cannot_be_written_leave_those_of_before(tmp_path, monkeypatch):
    path, x = tmp_path / "x.npy", torch.zeros(2, 1, 4, 4)
    Pixels().save(x, path)
    before = path.read_bytes()

    def full(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(LabError, match=r"cannot write .*No space left"):
        Pixels().save(x + 1, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_samples_are_saved_in_their_dtype_and_shown_and_animated(tmp_path):
    x = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4)
    assert Pixels().save(x, tmp_path / "new" / "x.npy") == [tmp_path / "new" / "x.npy"]
    assert np.load(tmp_path / "new" / "x.npy").dtype == np.float32
    assert Pixels().show(Sheet("Two", [x])).get_suptitle() == "Two"
    with Image.open(Pixels().animate([x, -x], tmp_path / "x.gif")) as moving:
        assert moving.n_frames == 2


def test_the_levels_are_the_values_of_8_bits():
    low, high = Pixels.value_range
    torch.testing.assert_close(torch.linspace(low, high, Pixels.levels), VALUES.flatten())


def test_pixels_are_no_text_and_are_not_spread():
    assert Pixels().spread == 0
    assert Pixels().characters(torch.zeros(2, 1, 4, 4)) is None
    with pytest.raises(ValueError, match="it is for runs on text, and this run has codec=Pixels"):
        Pixels().with_blanks("text", None)
