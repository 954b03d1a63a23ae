"""Weights against the formulas of their papers, and the same weight under every parameterization."""

import math

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.objectives import P2, ConstantWeight, EDMWeight, MinSNR, SigmoidWeight, Simple, UniformTimes
from diffusion_lab.parameterizations import EDM, X0, Denoiser, Eps, V, Velocity
from diffusion_lab.processes import Gaussian, Process
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, LinearSchedule

LOG_SNR = torch.tensor([-20.0, -3.0, 0.0, 1.5, 4.0, 20.0], dtype=torch.float64)
SNR = LOG_SNR.exp()
#: Of noise prediction: the weight of ‖eps error‖², which is the SNR times as large as ‖x0 error‖².
OF_NOISE = {
    "min_snr": (MinSNR(5.0), SNR.clamp(max=5) / SNR),  # Hang et al. 2023, section 3.4
    "p2": (P2(1.0, 0.5), 1 / (1 + SNR) ** 0.5),  # Choi et al. 2022, eq. 8
    "p2 of another k": (P2(3.0, 2.5), 1 / (3 + SNR) ** 2.5),
    "p2, noise prediction": (P2(2.0, 0.0), torch.ones_like(SNR)),
    "sigmoid": (SigmoidWeight(2.0), torch.sigmoid(2 - LOG_SNR)),  # Kingma & Gao 2023
    "constant": (ConstantWeight(), 1 / SNR),
}
WEIGHTS = [None, ConstantWeight(), MinSNR(), P2(), EDMWeight(), SigmoidWeight()]


@pytest.mark.parametrize("name", OF_NOISE)
def test_it_is_that_of_its_paper(name):
    weight, of_noise = OF_NOISE[name]
    torch.testing.assert_close(weight(LOG_SNR), of_noise * SNR, rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", WEIGHTS[1:])
def test_it_is_computed_in_double_precision(weight):
    rounded = LOG_SNR.float()
    assert torch.equal(weight(rounded), weight(rounded.double()))


def test_that_of_edm_is_1_in_the_space_of_its_raw_output():
    """Karras et al. 2022, table 1: λ c_out² = 1."""
    parameterization = EDM(Gaussian(EDMSchedule()), 0.6)
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    weight = EDMWeight(0.6)(parameterization.process.schedule.log_snr(t))
    torch.testing.assert_close(weight * parameterization.data_error(t), torch.ones(9).double())


def test_where_times_are_uniform_in_the_log_snr_the_sigmoid_weight_is_that_of_the_papers():
    """Half of the weight of noise prediction is left at the bias, and none of it depends on the schedule's density."""
    schedule = EDMSchedule()
    t = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    of_noise = SigmoidWeight(2.0)(log_snr) / log_snr.exp()
    within = (log_snr.abs() < 6).double()
    share = ((log_snr > 0).double() * within * of_noise).sum() / (within * of_noise).sum()
    exact = (math.log1p(math.exp(2)) - math.log1p(math.exp(-4))) / (math.log1p(math.exp(8)) - math.log1p(math.exp(-4)))
    assert float(share) == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("weight", WEIGHTS[1:])
def test_it_is_finite_where_there_is_no_signal(weight):
    assert bool(weight(torch.tensor([-math.inf], dtype=torch.float64)).isfinite())


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_p2_is_a_number_also_where_there_is_no_noise(gamma):
    found = P2(1.0, gamma)(torch.tensor([800.0, math.inf], dtype=torch.float64))
    assert found.tolist() == ([1, 1] if gamma == 1 else [math.inf, math.inf])


@pytest.mark.parametrize("make", [X0, Eps, V, Velocity, EDM])
@pytest.mark.parametrize("schedule", [CosineSchedule(), EDMSchedule()])
def test_the_error_of_the_data_follows_from_that_of_the_raw_output(make, schedule):
    parameterization = make(Gaussian(schedule))
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    z, raw, error = torch.randn(3, 7, 4, dtype=torch.float64)
    x0, other = (parameterization.prediction(r, z, t).x0 for r in (raw, raw + error))
    factor = (other - x0).square().sum(1) / error.square().sum(1)
    torch.testing.assert_close(parameterization.data_error(t), factor, rtol=1e-6, atol=0)


@pytest.mark.parametrize("weight", WEIGHTS[1:])
def test_the_weighted_loss_is_the_same_whatever_the_network_predicts(weight):
    """The networks differ, and all of them predict the same data."""
    process = Gaussian(CosineSchedule())
    z0 = torch.randn(16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    losses = []
    for make in (X0, Eps, V, Velocity, EDM):
        parameterization = make(process)

        class Network:
            def __init__(self, parameterization):
                self.parameterization = parameterization

            def __call__(self, x, c_noise, labels):
                """What a network must put out to predict x0 = 0.3 z."""
                t, z = self.t, self.z
                zero = self.parameterization.prediction(torch.zeros_like(z), z, t).x0
                one = self.parameterization.prediction(torch.ones_like(z), z, t).x0
                return (0.3 * z - zero) / (one - zero)

        network = Network(parameterization)
        denoiser = Denoiser(network, parameterization)
        keep = parameterization.network_input

        def noted(z, t, network=network, keep=keep):
            network.z, network.t = z, t
            return keep(z, t)

        parameterization.network_input = noted
        objective = Simple(process, parameterization, weight)
        noise = Noise(torch.arange(16), 0)
        t = UniformTimes(process, 16)(noise.at("time"))
        losses.append(objective(denoiser, z0, t, noise)["loss"])
    assert losses[0].dtype == torch.float32
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-4, atol=1e-7)


def test_errors_beyond_the_limit_of_huber_count_linearly():
    process = Gaussian(LinearSchedule())
    z0 = torch.zeros(3, 4)
    denoiser = Denoiser(lambda x, c, labels: torch.zeros_like(x), X0(process))

    def loss(huber, value):
        objective = Simple(process, X0(process), None, huber)
        t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
        return objective(denoiser, z0 + value, t, Noise(torch.arange(3), 0))["loss"].tolist()

    assert loss(0.5, 0.3) == pytest.approx([0.09] * 3)
    assert loss(0.5, 2.0) == pytest.approx([2 * 0.5 * 2 - 0.25] * 3)
    assert loss(None, 2.0) == pytest.approx([4.0] * 3)


def test_the_gradient_of_huber_is_that_of_the_square_within_its_limit_and_constant_beyond():
    process = Gaussian(LinearSchedule())
    raw = torch.tensor([[0.0, 0.3, 2.0, -2.0]], requires_grad=True)
    denoiser = Denoiser(lambda x, c, labels: raw, X0(process))
    objective = Simple(process, X0(process), None, 0.5)
    t = torch.full((1,), 0.5, dtype=torch.float64)
    objective(denoiser, torch.zeros(1, 4), t, Noise(torch.arange(1), 0))["loss"].sum().backward()
    assert raw.grad.tolist()[0] == pytest.approx([0, 2 * 0.3 / 4, 2 * 0.5 / 4, -2 * 0.5 / 4])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinSNR(0.0), r"weight\.gamma must be positive"),
        (lambda: P2(k=0.0), r"weight\.k must be positive"),
        (lambda: P2(gamma=-0.1), r"weight\.k must be positive, weight\.gamma 0 or more"),
        (lambda: P2(gamma=math.inf), r"both finite, got 1\.0 and inf"),
        (lambda: P2(k=math.inf), r"weight\.k must be positive.* both finite"),
        (lambda: EDMWeight(0.0), r"weight\.sigma_data must be positive"),
        (lambda: EDMWeight(math.inf), r"weight\.sigma_data must be positive and finite"),
        (lambda: SigmoidWeight(1000.0), r"weight\.bias must lie between -100 and 100, got 1000"),
        (lambda: SigmoidWeight(-100.1), r"weight\.bias must lie between -100 and 100, got -100"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bias", [-100.0, 100.0])
def test_the_largest_biases_are_taken(bias):
    found = SigmoidWeight(bias)(torch.tensor([-150.0, bias, 150.0], dtype=torch.float64))
    expected = [math.exp(x) / (1 + math.exp(x - bias)) for x in (-150.0, bias, 150.0)]
    assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=0)


def test_weights_need_a_gaussian_process_and_huber_a_positive_limit():
    class Other(Process):
        schedule = LinearSchedule()
        sample = prior = prior_kl = transition = posterior = None

    with pytest.raises(ValueError, match="weight=MinSNR needs a Gaussian process"):
        Simple(Other(), None, MinSNR())
    for huber in (0.0, -1.0):
        with pytest.raises(ValueError, match=rf"objective\.huber must be positive or null, got {huber}"):
            Simple(Other(), None, None, huber)
