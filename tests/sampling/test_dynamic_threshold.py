import pytest
import torch

from diffusion_lab.codecs import Pixels
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.sampling import DynamicThreshold


def thresholded(x0, quantile):
    one = z_t = torch.ones_like(x0)

    def denoiser(z_t, t, condition=None):
        return GaussianPrediction(z_t, one, one, x0, "x0")

    return DynamicThreshold(Pixels(), quantile)(denoiser)(z_t, torch.ones(len(x0))).x0


def test_each_sample_is_clipped_to_its_own_quantile_and_scaled():
    """Imagen, section 2.3, by hand: the median of |x0| is 2 in the first row and 0.5, below 1, in the second."""
    x0 = torch.tensor([[1.0, -2.0, 4.0], [0.5, -0.25, 3.0]], dtype=torch.float64)
    expected = torch.tensor([[0.5, -1.0, 1.0], [0.5, -0.25, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(thresholded(x0, 0.5), expected)
    torch.testing.assert_close(thresholded(x0.view(2, 1, 3), 0.5), expected.view(2, 1, 3))


def test_the_whole_quantile_only_scales():
    x0 = torch.tensor([[1.0, -2.0, 4.0]])
    torch.testing.assert_close(thresholded(x0, 1.0), x0 / 4)


@pytest.mark.parametrize("quantile", [0.0, -0.5, 1.5])
def test_a_quantile_out_of_range_is_refused(quantile):
    with pytest.raises(ValueError, match=r"clip\.quantile"):
        DynamicThreshold(Pixels(), quantile)


def test_a_range_that_is_not_around_0_is_refused():
    codec = Pixels()
    codec.value_range = (0.0, 1.0)
    with pytest.raises(ValueError, match="clip=dynamic needs codes with a range around 0"):
        DynamicThreshold(codec)


def test_codes_without_a_range_are_left_alone():
    codec = Pixels()
    codec.value_range = None
    assert DynamicThreshold(codec)(print) is print
