import pytest
import torch
from torch import nn

from diffusion_lab.codecs import Pixels
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import Hybrid, UniformTimes, bound_term
from diffusion_lab.parameterizations import Denoiser, Eps, LearnedVariance, V
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import FlowSchedule, LinearSchedule

PROCESS = Gaussian(LinearSchedule(100))
PARAMETERIZATION = LearnedVariance(PROCESS, Eps(PROCESS))


class Net(nn.Module):
    """Its two weights are the two halves of its output."""

    def __init__(self):
        super().__init__()
        self.mean, self.variance = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(-0.2))

    def forward(self, x, c_noise, condition):
        return torch.cat([self.mean * x, self.variance * torch.ones_like(x)], 1)


def terms(network, **arguments):
    objective = Hybrid(PROCESS, PARAMETERIZATION, Pixels(), **arguments)
    noise = Noise(torch.arange(64), 0)
    t = UniformTimes(PROCESS, 64)(noise.at("time"))
    z0 = torch.rand(64, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return objective(Denoiser(network, PARAMETERIZATION), z0, t, noise) | {"t": t}, z0


def test_the_loss_is_the_squared_error_plus_a_little_of_the_bound():
    found, z0 = terms(Net(), bound_weight=0.01)
    torch.testing.assert_close(found["loss"], found["mse"] + 0.01 * found["vlb"], rtol=1e-6, atol=0)
    noised = PROCESS.sample(z0, found["t"], Noise(torch.arange(64), 0).at("noise"))
    torch.testing.assert_close(found["mse"], (0.3 * noised.z_t - noised.eps).square().flatten(1).mean(1))
    prediction = Denoiser(Net(), PARAMETERIZATION)(noised.z_t, found["t"])
    torch.testing.assert_close(found["vlb"], 100 * bound_term(PROCESS, Pixels(), z0, found["t"], prediction).float())


def test_the_bound_trains_the_variance_alone():
    network = Net()
    found, _ = terms(network)
    (of_mean, of_variance) = torch.autograd.grad(found["vlb"].sum(), network.parameters(), allow_unused=True)
    assert of_mean is None or of_mean == 0
    assert of_variance != 0


@pytest.mark.parametrize("weight", [0.0, -0.1, float("nan")])
def test_its_weight_is_positive(weight):
    with pytest.raises(ValueError, match=rf"objective\.bound_weight must be positive, got {weight}"):
        terms(Net(), bound_weight=weight)


def test_it_needs_steps():
    process = Gaussian(FlowSchedule())
    with pytest.raises(ValueError, match="objective=vlb and objective=hybrid need a schedule of T steps"):
        Hybrid(process, LearnedVariance(process, V(process)), Pixels())
