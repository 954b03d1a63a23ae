import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.networks import Network, SimpleUNet
from diffusion_lab.parameterizations import Denoiser, Eps, Parameterization
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
    assert len(calls) == 2
    assert denoiser.evaluations == 4  # two states each
    # Asking for either side of a prediction costs no evaluation.
    assert torch.equal(prediction.eps, raw)
    assert prediction.x0.shape == z_t.shape
    assert denoiser.evaluations == 4
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


class Labelled(Network):
    condition = "label"

    def forward(self, x, c_noise, condition=None):
        return x + condition[:, None]


def test_a_network_that_takes_labels_and_gets_none_is_an_error():
    denoiser = Denoiser(Labelled(), Eps(Gaussian(LinearSchedule(100))))
    z_t, t = torch.zeros(2, 3), torch.ones(2, dtype=torch.float64)
    assert denoiser.raw(z_t, t, torch.tensor([3, 4]))[:, 0].tolist() == [3, 4]
    with pytest.raises(LabError, match="Labelled takes a label for each sample, and was given none"):
        denoiser(z_t, t)


def test_labels_for_a_network_that_takes_none_are_an_error():
    network = SimpleUNet(1, 1, 8, base_channels=8, channel_multipliers=(1,), time_dim=8)
    denoiser = Denoiser(network, Eps(Gaussian(LinearSchedule(100))))
    with pytest.raises(LabError, match="SimpleUNet takes no condition"):
        denoiser(torch.zeros(1, 1, 8, 8), torch.ones(1, dtype=torch.float64), torch.tensor([3]))


class Logits(Parameterization):
    """Of categories: the raw output is what it is."""

    def prediction(self, raw, z_t, t):
        return raw


class Embedding(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(256, 5).to(torch.bfloat16)

    def forward(self, x, c_noise, condition=None):
        return self.table(x)


def test_categories_reach_the_network_as_integers_and_logits_come_back_as_numbers():
    denoiser = Denoiser(Embedding(), Logits(Gaussian(LinearSchedule(100))))
    logits = denoiser(torch.tensor([[3, 7, 255]]), torch.ones(1, dtype=torch.float64))
    assert logits.shape == (1, 3, 5)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(("takes_time", "asked"), [(None, 3), (True, 3), (False, 2)])
def test_what_a_network_says_is_remembered_for_a_while_if_it_is_not_told_the_time(takes_time, asked):
    """One that does not say whether it is told is asked each time."""

    class Doubling:
        def __call__(self, x, c_noise, condition):
            return 2 * x

    network = Doubling()
    if takes_time is not None:
        network.takes_time = takes_time
    denoiser = Denoiser(network, Eps(Gaussian(LinearSchedule(100))))
    z_t, t = torch.ones(1, 2), torch.ones(1, dtype=torch.float64)
    with denoiser.remembering():
        for _ in range(2):
            assert torch.equal(denoiser.raw(z_t, t), 2 * z_t)
    denoiser.raw(z_t, t)
    assert denoiser.evaluations == asked
