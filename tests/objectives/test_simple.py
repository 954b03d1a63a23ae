import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import Simple, UniformTimes
from diffusion_lab.parameterizations import Denoiser, Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import LinearSchedule
from oracles import finite_data
from oracles import schedules as exact

STEPS = 100
PROCESS = Gaussian(LinearSchedule(STEPS))
OBJECTIVE = Simple(PROCESS, Eps(PROCESS))
TIMES = UniformTimes(PROCESS, 64)
ALPHA_BAR = torch.tensor([float(a) for a in exact.linear(STEPS).alpha_bar], dtype=torch.float64)


def terms_and_times(denoiser, z0, noise, labels=None):
    """The terms at uniform times, as in training, and these."""
    t = TIMES(noise.at("time"))
    return OBJECTIVE(denoiser, z0, t, noise, labels) | {"t": t}


def coefficients(index):
    """alpha and sigma [B, 1] at step indices [B] counted from 0."""
    alpha_bar = ALPHA_BAR[index.round().long() + 1][:, None]
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def test_the_loss_is_the_mean_squared_error_of_the_noise():
    seen = {}

    def network(x, c_noise, labels):
        seen.update(x=x, index=c_noise, labels=labels)
        return 0.5 * x + 0.1

    z0, labels = torch.linspace(-1, 1, 5 * 12).reshape(5, 3, 2, 2), torch.arange(5)
    terms = terms_and_times(Denoiser(network, Eps(PROCESS)), z0, Noise(torch.arange(5), 0, "train"), labels)

    # What was added to the data follows from what the network saw.
    alpha, sigma = (c[:, :, None, None] for c in coefficients(seen["index"]))
    eps = (seen["x"] - alpha * z0) / sigma
    by_hand = [((0.5 * seen["x"][b] + 0.1 - eps[b]) ** 2).sum() / 12 for b in range(5)]
    assert terms["loss"].dtype == torch.float32
    assert terms["loss"].tolist() == pytest.approx([float(loss) for loss in by_hand], rel=1e-4)
    torch.testing.assert_close(terms["t"], (seen["index"].double() + 1) / STEPS)
    assert seen["labels"] is labels


def test_the_loss_of_bfloat16_data_is_computed_in_float32():
    """Two digits are all that a square has in bfloat16."""

    def network(x, c_noise, labels):
        return x.bfloat16() * 0.5

    z0, noise = torch.linspace(-1, 1, 4 * 999).reshape(4, 3, 333), Noise(torch.arange(4), 0)
    terms = terms_and_times(Denoiser(network, Eps(PROCESS)), z0.bfloat16(), noise)
    assert terms["loss"].dtype == torch.float32
    in_single = terms_and_times(Denoiser(lambda x, c, labels: x * 0.5, Eps(PROCESS)), z0, noise)
    torch.testing.assert_close(terms["loss"], in_single["loss"], rtol=5e-3, atol=0)


def test_times_and_noise_are_unrelated():
    """Both come from one address: were they drawn at the same one, they would share their random words."""
    seen = {}

    def network(x, c_noise, labels):
        seen.update(x=x)
        return torch.zeros_like(x)

    terms = terms_and_times(Denoiser(network, Eps(PROCESS)), torch.zeros(20_000, 2), Noise(torch.arange(20_000), 0))
    _, sigma = coefficients(terms["t"] * STEPS - 1)
    eps = seen["x"] / sigma
    features = torch.cat([terms["t"][None], eps.T, eps.T.square()])
    assert torch.corrcoef(features)[0, 1:].abs().max() < 4 / 20_000**0.5


def test_a_rows_terms_do_not_depend_on_its_batch():
    denoiser = Denoiser(lambda x, c, labels: x, Eps(PROCESS))
    z0 = torch.linspace(-1, 1, 128).reshape(64, 2)
    everything = terms_and_times(denoiser, z0, Noise(torch.arange(64), 0))
    some = terms_and_times(denoiser, z0[5:8], Noise(torch.arange(5, 8), 0))
    assert torch.equal(some["t"], everything["t"][5:8])
    torch.testing.assert_close(some["loss"], everything["loss"][5:8])


POINTS = torch.tensor([[1.0, 0.0], [-0.6, 0.8], [0.0, -1.0]], dtype=torch.float64)


def exact_noise(x, index, labels=None, points=POINTS):
    return finite_data.expected_noise(x.double(), *coefficients(index), points)


PERTURBED = {
    "shifted": lambda x, i, _: exact_noise(x, i) + torch.tensor([0.05, 0.0]),
    "shrunk": lambda x, i, _: 0.95 * exact_noise(x, i),
    "bent": lambda x, i, _: exact_noise(x, i) + 0.08 * torch.sin(3 * x.flip(1)),
    "a step late": lambda x, i, _: exact_noise(x, (i + 2).clamp(max=STEPS - 1)),
    "a point is missing": lambda x, i, _: exact_noise(x, i, points=POINTS[:2]),
    "a point is elsewhere": lambda x, i, _: exact_noise(x, i, points=POINTS * torch.tensor([[1.0], [1.0], [1.1]])),
    "a point counts twice": lambda x, i, _: exact_noise(x, i, points=POINTS[[0, 0, 1, 2]]),
}


@pytest.fixture(scope="module")
def floor():
    return mean_loss(exact_noise)


def mean_loss(network):
    n = 30_000
    noise = Noise(torch.arange(n), 0, "floor")
    z0 = POINTS[torch.arange(n) % len(POINTS)].float()
    return float(terms_and_times(Denoiser(network, Eps(PROCESS)), z0, noise)["loss"].double().mean())


@pytest.mark.parametrize("name", PERTURBED)
def test_nothing_has_a_lower_loss_than_the_exact_denoiser_of_a_finite_data_set(floor, name):
    """E[eps | z_t] is the minimizer; all are scored on the same noise, so that small differences show."""
    assert mean_loss(PERTURBED[name]) > floor


def test_a_raw_output_of_another_shape_than_its_target_is_an_error():
    """Two channels under a one-channel target would be broadcast without a word."""
    denoiser = Denoiser(lambda x, c_noise, labels: x.repeat(1, 2, 1, 1), Eps(PROCESS))
    with pytest.raises(LabError, match=r"raw output has the shape \[3, 2, 4, 4\] and the target .* \[3, 1, 4, 4\]"):
        terms_and_times(denoiser, torch.zeros(3, 1, 4, 4), Noise(torch.arange(3), 0))
