import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, DiscreteSchedule, LinearSchedule


def test_the_noise_that_was_added_implies_the_data():
    process = Gaussian(LinearSchedule(1000))
    z0 = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    noised = process.sample(z0, torch.tensor([0.001, 0.3, 0.7, 1.0]).double(), Noise(torch.arange(4), 0))
    parameterization = Eps(process)
    raw = parameterization.target(noised)
    assert torch.equal(raw, noised.eps)
    prediction = parameterization.prediction(raw, noised.z_t, noised.t)
    torch.testing.assert_close(prediction.x0, z0, rtol=0, atol=1e-11)
    assert torch.equal(prediction.eps, raw)


@pytest.mark.parametrize("schedule", [LinearSchedule(1000), CosineSchedule(30)], ids=["1000", "30"])
def test_the_network_sees_the_state_and_the_index_from_0_to_t_minus_1(schedule):
    z_t = torch.ones(schedule.steps, 1)
    t = torch.tensor([(i + 1) / schedule.steps for i in range(schedule.steps)], dtype=torch.float64)
    x, c_noise = Eps(Gaussian(schedule)).network_input(z_t, t)
    assert torch.equal(x, z_t)
    assert torch.equal(c_noise, torch.arange(schedule.steps, dtype=torch.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_index_is_float32_whatever_the_state_is(dtype):
    t = torch.tensor([0.999, 1.0], dtype=torch.float64)
    _, c_noise = Eps(Gaussian(LinearSchedule(1000))).network_input(torch.ones(2, 1, dtype=dtype), t)
    assert torch.equal(c_noise, torch.tensor([998.0, 999.0], dtype=torch.float32))


def test_float32_images_stay_float32():
    process = Gaussian(LinearSchedule(1000))
    z_t, t = torch.zeros(2, 1, 4, 4), torch.tensor([0.5, 1.0], dtype=torch.float64)
    prediction = Eps(process).prediction(z_t, z_t, t)
    assert prediction.x0.dtype == prediction.eps.dtype == torch.float32


def test_a_schedule_that_leaves_no_signal_is_refused():
    """Predicted noise would be divided by alpha(1) = 0."""
    with pytest.raises(ValueError, match="parameterization=eps does not go with"):
        Eps(Gaussian(DiscreteSchedule(torch.tensor([0.5, 1.0]))))
