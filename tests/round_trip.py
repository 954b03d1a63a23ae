"""What every regression of a Gaussian process must do, for tests of each. No test."""

import torch

from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, FlowSchedule, LinearSchedule

SCHEDULES = {
    "linear": LinearSchedule(),
    "cosine": CosineSchedule(),
    "zero terminal SNR": LinearSchedule(zero_terminal_snr=True),
    "flow": FlowSchedule(),
    "edm": EDMSchedule(),
}
TIMES = torch.tensor([0.001, 0.03, 0.25, 0.5, 0.77, 0.999, 1.0], dtype=torch.float64)


def check_round_trip(make, schedule):
    """A network that puts out the target predicts the data and the noise that the state was made of."""
    process = Gaussian(schedule)
    parameterization = make(process)
    generator = torch.Generator().manual_seed(0)
    z0, eps = torch.randn(2, len(TIMES), 2, 3, dtype=torch.float64, generator=generator)
    noised = process.mix(z0, TIMES, eps)
    denoiser = Denoiser(lambda x, c_noise, labels: parameterization.target(noised), parameterization)
    prediction = denoiser(noised.z_t, TIMES)
    torch.testing.assert_close(prediction.x0, z0, rtol=0, atol=1e-8)
    torch.testing.assert_close(prediction.eps, eps, rtol=0, atol=1e-6)
    return process, noised
