"""Draws: conditions, evaluations, and numbers that are none."""

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.codecs import Pixels
from diffusion_lab.errors import LabError
from diffusion_lab.networks import Network
from diffusion_lab.parameterizations import Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClipX0, Pipeline
from diffusion_lab.schedules import LinearSchedule

PROCESS = Gaussian(LinearSchedule(100))


class Plain(Network):
    def __init__(self, weight=0.5):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x, c_noise, condition=None):
        return self.weight * x


class Labelled(Plain):
    condition = "label"

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, c_noise, condition=None):
        self.seen.append(condition.tolist())
        return self.weight * x


def pipeline(network, num_classes=3, transforms=()):
    sampler = ancestral(PROCESS, num_steps=4)
    return Pipeline(network, Eps(PROCESS), PROCESS, Pixels(), sampler, transforms, (1, 2, 2), num_classes)


def test_a_draw_says_how_often_the_network_was_evaluated_for_each_sample():
    drawn = pipeline(Plain()).draw(7, batch_size=3)
    assert drawn.samples.shape == (7, 1, 2, 2)
    assert drawn.evaluations == 4
    assert drawn.condition is None


def test_without_labels_the_classes_come_in_turn_over_the_batches():
    network = Labelled()
    drawn = pipeline(network).draw(7, batch_size=4)
    assert drawn.condition.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert network.seen == [[0, 1, 2, 0]] * 4 + [[1, 2, 0]] * 4


def test_labels_that_are_given_are_taken():
    network = Labelled()
    assert pipeline(network).draw(2, condition=[2, 2]).condition.tolist() == [2, 2]
    assert network.seen == [[2, 2]] * 4


@pytest.mark.parametrize(
    ("labels", "says"),
    [([1], "2 samples need as many labels"), ([0, 3], "between 0 and 2"), ([-1, 0], "between 0 and 2")],
)
def test_labels_that_do_not_fit_are_refused(labels, says):
    with pytest.raises(LabError, match=says):
        pipeline(Labelled()).draw(2, condition=labels)


def test_labels_for_a_network_that_takes_none_are_refused():
    with pytest.raises(LabError, match="Plain takes no condition"):
        pipeline(Plain()).draw(2, condition=[0, 1])


def test_a_network_that_takes_labels_needs_data_that_has_some():
    with pytest.raises(LabError, match="Labelled takes labels, and the data has none"):
        pipeline(Labelled(), num_classes=None).draw(2)


@pytest.mark.parametrize(("weight", "transforms"), [(torch.nan, ()), (torch.inf, ()), (torch.nan, (ClipX0(Pixels()),))])
def test_a_draw_that_ends_in_no_numbers_is_an_error(weight, transforms):
    with pytest.raises(LabError, match="not finite, in 3 of 3 samples"):
        pipeline(Plain(weight), transforms=transforms).draw(3)


def test_transforms_are_applied_in_their_order():
    said = []

    def transform(name):
        def of(denoiser):
            def named(z_t, t, condition=None):
                prediction = denoiser(z_t, t, condition)
                said.append(name)
                return prediction

            return named

        of.clips = False
        return of

    pipeline(Plain(), transforms=(transform("guidance"), transform("clip"))).draw(1)
    assert said == ["guidance", "clip"] * 4


def test_the_network_is_left_in_its_mode():
    network = Plain().train()
    pipeline(network).draw(1)
    assert network.training
