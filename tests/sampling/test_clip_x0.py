import pytest
import torch

from diffusion_lab.codecs import Pixels
from diffusion_lab.parameterizations import Denoiser, Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClipX0
from diffusion_lab.schedules import CosineSchedule, LinearSchedule


class Codes(Pixels):
    """Codes of another range, or of none."""

    def __init__(self, *value_range):
        super().__init__()
        self.value_range = value_range or None


def test_codes_without_a_range_are_left_alone():
    def denoiser(z_t, t, condition=None):
        raise AssertionError

    assert ClipX0(Codes())(denoiser) is denoiser
    assert not ClipX0(Codes()).clips
    assert ClipX0(Pixels()).clips


@pytest.mark.parametrize("schedule", [LinearSchedule(1000), CosineSchedule(1000)], ids=["linear", "cosine"])
def test_clipped_data_and_the_noise_derived_from_it_still_make_the_state(schedule):
    process = Gaussian(schedule)
    denoiser = Denoiser(lambda x, c_noise, labels: torch.sin(5 * x), Eps(process))
    z_t = torch.linspace(-3, 3, 40, dtype=torch.float64).reshape(4, 10)
    t = torch.tensor([0.001, 0.3, 0.9, 1.0], dtype=torch.float64)
    plain, clipped = denoiser(z_t, t), ClipX0(Codes(-1, 0.5))(denoiser)(z_t, t)
    assert torch.equal(clipped.x0, plain.x0.clamp(-1, 0.5))
    assert bool((clipped.x0 != plain.x0).any(1).all())
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
    torch.testing.assert_close(alpha * clipped.x0 + sigma * clipped.eps, z_t, rtol=0, atol=1e-12)


def test_what_lies_within_the_range_is_left_alone():
    process = Gaussian(LinearSchedule(1000))
    denoiser = Denoiser(lambda x, c_noise, labels: x, Eps(process))
    z_t, t = torch.full((1, 3), 0.1, dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64)
    plain, clipped = denoiser(z_t, t), ClipX0(Pixels())(denoiser)(z_t, t)
    assert torch.equal(clipped.x0, plain.x0)
    torch.testing.assert_close(clipped.eps, plain.eps, rtol=0, atol=1e-12)


def test_the_condition_is_passed_on_and_the_network_called_once():
    process, seen = Gaussian(LinearSchedule(1000)), []

    def network(x, c_noise, labels):
        seen.append(labels)
        return x

    labels = torch.tensor([7])
    t = torch.tensor([0.5], dtype=torch.float64)
    prediction = ClipX0(Pixels())(Denoiser(network, Eps(process)))(torch.ones(1, 2), t, labels)
    assert prediction.x0.dtype == prediction.eps.dtype == torch.float32
    assert len(seen) == 1
    assert seen[0] is labels
