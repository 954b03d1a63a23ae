import math

import torch

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, NoisyData, SqrtSchedule

T = torch.tensor([0.01, 0.2, 0.5, 0.8, 0.99], dtype=torch.float64)


def test_states_are_those_of_data_that_is_noisy_itself():
    """Moments of alpha x0 + sigma eps with x0 ~ N(2, 0.3²), from draws."""
    base = CosineSchedule(100)
    t, rows = torch.full((40_000,), 0.3, dtype=torch.float64), Noise(torch.arange(40_000), 0)
    x0 = 2 + 0.3 * rows.at("data").normal((1,))
    z = Gaussian(base).sample(x0, t, rows.at("noise")).z_t
    noisy = NoisyData(base, 0.3)
    assert abs(float(z.mean()) - 2 * float(noisy.alpha(t)[0])) < 0.02
    assert abs(float(z.std()) - float(noisy.sigma(t)[0])) < 0.02


def test_slopes_inverse_and_prior():
    for base in (CosineSchedule(None), SqrtSchedule(None)):
        noisy = NoisyData(base, 0.3)
        for of, slope in ((noisy.alpha, noisy.d_alpha), (noisy.sigma, noisy.d_sigma)):
            torch.testing.assert_close((of(T + 1e-6) - of(T - 1e-6)) / 2e-6, slope(T), rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(noisy.time(noisy.log_snr(T)), T, rtol=0, atol=1e-9)
        assert float(noisy.time(torch.tensor(5.0, dtype=torch.float64))) == 0
        assert (noisy.prior_std, noisy.steps) == (base.prior_std, None)
    zero = torch.zeros((), dtype=torch.float64)
    assert math.exp(float(NoisyData(CosineSchedule(None), 0.3).log_snr(zero)) / -2) == 0.3
