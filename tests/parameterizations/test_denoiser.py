import pytest
import torch

from diffusion_lab.networks import SimpleUNet
from diffusion_lab.parameterizations import Denoiser, Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import LinearSchedule


def test_every_call_of_the_network_is_counted_and_gets_what_it_needs():
    calls = []

    def network(x, c_noise, labels):
        calls.append((x, c_noise, labels))
        return x

    denoiser = Denoiser(network, Eps(Gaussian(LinearSchedule(100))))
    z_t, t, labels = torch.ones(2, 1), torch.tensor([0.01, 1.0], dtype=torch.float64), torch.tensor([3, 4])
    assert denoiser.evaluations == 0
    raw = denoiser.raw(z_t, t)
    prediction = denoiser(z_t, t, labels)
    assert denoiser.evaluations == len(calls) == 2
    # Asking for either side of a prediction costs no evaluation.
    assert torch.equal(prediction.eps, raw)
    assert prediction.x0.shape == z_t.shape
    assert denoiser.evaluations == 2
    assert calls[0][2] is None
    assert calls[1][2] is labels
    assert calls[1][1].tolist() == [0, 99]


@pytest.mark.parametrize("of_network", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("of_state", [torch.float32, torch.float64])
def test_a_prediction_has_the_dtype_of_the_state_whatever_that_of_the_network(of_network, of_state):
    network = SimpleUNet(1, 1, 8, base_channels=8, channel_multipliers=(1,), time_dim=8).to(of_network)
    z_t, t = torch.zeros(1, 1, 8, 8, dtype=of_state), torch.tensor([0.5], dtype=torch.float64)
    prediction = Denoiser(network, Eps(Gaussian(LinearSchedule(100))))(z_t, t)
    assert prediction.x0.dtype == prediction.eps.dtype == of_state
