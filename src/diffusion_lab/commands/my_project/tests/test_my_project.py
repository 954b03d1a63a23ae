"""What is promised of the schedule, the network and the data."""

import pytest
import torch
from my_project.conv_net import ConvNet
from my_project.discs import Discs
from my_project.quadratic_betas import QuadraticSchedule


def test_the_square_roots_of_the_betas_rise_evenly():
    schedule = QuadraticSchedule(steps=5, beta_start=0.01, beta_end=0.25)
    t = torch.arange(6, dtype=torch.float64) / 5
    kept = schedule.alpha(t) ** 2  # alpha² after each step: the product of 1 − beta
    torch.testing.assert_close(1 - kept[1:] / kept[:-1], torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]).double() ** 2)


@pytest.mark.parametrize("wrong", [{"steps": 1}, {"beta_start": 0.0}, {"beta_end": 1.0}])
def test_a_schedule_that_cannot_be_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"schedule.{'steps' if 'steps' in wrong else 'beta_start'}"):
        QuadraticSchedule(**wrong)


def test_the_network_keeps_the_size_and_samples_apart():
    network = ConvNet(in_channels=1, out_channels=2, width=8, depth=2)
    x, time = torch.randn(2, 1, 16, 16), torch.tensor([10.0, 900.0])
    raw = network(x, time)
    assert raw.shape == (2, 2, 16, 16)
    other = network(x, time + torch.tensor([0.0, 50.0]))
    assert torch.equal(raw[0], other[0])
    assert not torch.allclose(raw[1], other[1])


def test_each_picture_shows_a_whole_disc():
    data = Discs(image_size=16)
    data.setup()
    pictures, labels = data.split("train")
    assert labels is None
    assert pictures.shape == (2000, 1, 16, 16)
    assert pictures.min() == -1
    assert bool((pictures.flatten(1).max(1).values == 1).all())
    assert not torch.equal(data.split("val")[0][:10], pictures[:10])
