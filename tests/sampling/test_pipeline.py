"""Draws: conditions, evaluations, and numbers that are none."""

import io
import sys

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.codecs import Pixels
from diffusion_lab.errors import LabError
from diffusion_lab.parameterizations import X0, Eps
from diffusion_lab.parameterizations.posterior_mean import PosteriorMean
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClassifierFree, ClipX0, DPMSolverPP2M, Pipeline, Trajectory
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import LinearSchedule
from plain_network import Plain

PROCESS = Gaussian(LinearSchedule(100))


class Labelled(Plain):
    condition = "label"

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, c_noise, condition=None):
        self.seen.append(condition.tolist())
        return self.weight * x


def pipeline(network, num_classes=3, transforms=(), sampler=None):
    sampler = sampler or ancestral(PROCESS, num_steps=4)
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


def test_256_samples_are_drawn_or_inverted_at_a_time():
    network = Labelled()
    pipeline(network, sampler=ancestral(PROCESS, num_steps=1)).draw(257)
    pipeline(network, sampler=DPMSolverPP2M(PROCESS, Trailing(PROCESS.schedule), 1)).invert(
        torch.zeros(257, 1, 2, 2), [0] * 257
    )
    assert [len(labels) for labels in network.seen] == [256, 1] * 2


def test_labels_that_are_given_are_taken():
    network = Labelled()
    assert pipeline(network).draw(2, condition=[2, 2]).condition.tolist() == [2, 2]
    assert network.seen == [[2, 2]] * 4


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([1], "2 samples need as many labels"),
        ([0, 3], "from 0 to 2"),
        ([-1, 0], "from 0 to 2"),
        ([0.5, 1], "a whole number"),
        ([True, False], "a whole number"),
    ],
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


def test_such_an_error_counts_the_samples_that_have_any():
    start = torch.zeros(3, 1, 2, 2)
    start[1, 0, 1, 0] = torch.nan
    with pytest.raises(LabError, match="not finite, in 1 of 3 samples"):
        pipeline(Plain()).draw(3, start=start)


def test_transforms_are_applied_in_their_order():
    said = []

    def transform(name):
        def of(denoiser, constraint):
            def named(z_t, t, condition=None):
                prediction = denoiser(z_t, t, condition)
                said.append(name)
                return prediction

            return named

        of.clips = False
        return of

    pipeline(Plain(), transforms=(transform("guidance"), transform("clip"))).draw(1)
    assert said == ["guidance", "clip"] * 4


class Dropping(Plain):
    """Would drop everything if it were not told that nothing is trained."""

    def forward(self, x, c_noise, condition=None):
        return torch.nn.functional.dropout(super().forward(x, c_noise), 1.0, self.training)


def test_dropout_is_off_while_samples_are_drawn_and_inverted():
    for act in (lambda lab: lab.draw(2).samples, lambda lab: lab.invert(IMAGES).samples):
        found = [act(pipeline(network.train(), sampler=deterministic())) for network in (Plain(), Dropping())]
        assert torch.equal(*found)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_in_its_mode(training):
    network = Plain().train(training)
    pipeline(network).draw(1)
    assert network.training is training


def test_the_network_is_left_in_its_mode_by_a_draw_that_fails():
    network = Plain(torch.nan).train()
    with pytest.raises(LabError):
        pipeline(network).draw(1)
    assert network.training


def deterministic():
    return DPMSolverPP2M(PROCESS, Trailing(PROCESS.schedule), 20)


IMAGES = torch.linspace(-0.9, 0.9, 20).reshape(5, 1, 2, 2)


def test_images_become_noise_from_which_they_are_drawn_again():
    lab = pipeline(Plain(0.2), sampler=deterministic())
    found = lab.invert(IMAGES)
    assert (found.samples.shape, found.evaluations) == ((5, 1, 2, 2), 20)
    assert (found.samples - IMAGES).abs().max() > 0.1
    again = lab.draw(5, start=found.samples, seed=9).samples
    assert (again - IMAGES).abs().max() < 0.05
    assert (lab.draw(5).samples - IMAGES).abs().max() > 0.1


def test_noise_does_not_depend_on_the_batch_size_and_a_start_is_that_of_its_sample():
    lab = pipeline(Plain(0.2), sampler=deterministic())
    found = lab.invert(IMAGES).samples
    torch.testing.assert_close(lab.invert(IMAGES, batch_size=2).samples, found)
    torch.testing.assert_close(lab.draw(5, start=found, batch_size=2).samples, lab.draw(5, start=found).samples)


def test_inversion_goes_by_the_labels_and_the_guidance_of_the_draw():
    network = Labelled()
    network.condition_dropout = 0.1
    lab = pipeline(network, transforms=(ClassifierFree(PROCESS, network, 3, scale=2.0),), sampler=deterministic())
    found = lab.invert(IMAGES, condition=[2, 2, 0, 0, 1])
    assert found.evaluations == 40
    assert network.seen == [[2, 2, 0, 0, 1], [3] * 5] * 20


def test_images_for_a_network_that_takes_labels_need_theirs():
    with pytest.raises(LabError, match="the label of each sample must be given"):
        pipeline(Labelled(), sampler=deterministic()).invert(IMAGES)


def test_a_sampler_that_adds_noise_inverts_nothing():
    with pytest.raises(ValueError, match="sampler=Ancestral adds noise"):
        pipeline(Plain()).invert(IMAGES)


def test_a_part_of_the_samples_of_a_seed_is_that_part_of_all():
    network = Labelled()
    lab = pipeline(network)
    whole = lab.draw(7, seed=3)
    part = lab.draw(3, seed=3, first=4, batch_size=2)
    torch.testing.assert_close(part.samples, whole.samples[4:])
    assert part.condition.tolist() == [1, 2, 0]
    lab = pipeline(Plain(0.2), sampler=deterministic())
    starts = torch.linspace(-1, 1, 20).reshape(5, 1, 2, 2)
    found = lab.draw(2, start=starts[3:], first=3, batch_size=1).samples
    torch.testing.assert_close(found, lab.draw(5, start=starts).samples[3:])


def test_samples_are_those_of_the_draw_with_the_same_arguments_and_of_seed_0_if_none_is_given():
    lab = pipeline(Plain())
    assert torch.equal(lab.sample(3), lab.draw(3, 0).samples)
    assert torch.equal(lab.sample(3, 1, first=2), lab.draw(3, 1, first=2).samples)
    assert torch.equal(lab.draw(3).samples, lab.draw(3, 0).samples)
    assert not torch.equal(lab.sample(3, 1), lab.sample(3))


class Rounding(Plain):
    """Notes whether it is asked to round."""

    def __init__(self):
        super().__init__(0.2)
        self.rounds = set()

    def forward(self, x, c_noise, condition=None):
        self.rounds.add(torch.is_autocast_enabled(x.device.type))
        return super().forward(x, c_noise)


@pytest.mark.parametrize(("options", "rounds"), [({}, False), ({"precision": "bf16-mixed"}, True)])
def test_the_network_rounds_where_it_is_told_to(options, rounds):
    for act in (lambda lab: lab.draw(1, **options), lambda lab: lab.invert(IMAGES, **options)):
        network = Rounding()
        assert act(pipeline(network, sampler=deterministic())).samples.dtype == torch.float32
        assert network.rounds == {rounds}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda lab, **more: lab.draw(5, batch_size=3, **more), "sampling: 100%"),
        (lambda lab, **more: lab.invert(IMAGES, batch_size=3, **more), "inverting: 100%"),
    ],
)
def test_a_bar_of_all_steps_of_all_batches_is_shown_in_a_terminal_to_those_who_want_one(monkeypatch, act, says):
    lab = pipeline(Plain(0.2), sampler=deterministic())
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)

    def written(stream, **more):
        monkeypatch.setattr("sys.stderr", stream)
        act(lab, **more)
        return stream.getvalue()

    shown = written(Terminal(), progress=True)
    assert says in shown
    assert "40/40" in shown
    assert "step" in shown
    assert written(Terminal()) == written(io.StringIO(), progress=True) == ""


def test_after_a_draw_that_fails_its_bar_is_left_and_a_new_line_begun(monkeypatch):
    stream = Terminal()
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    with pytest.raises(LabError) as caught:
        pipeline(Plain(torch.nan), sampler=deterministic()).draw(1, progress=True)
    assert "not finite" in str(caught.value)
    assert "20/20" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_a_trajectory_is_that_of_the_first_batch():
    lab = pipeline(Plain())
    found, alone = (Trajectory(frames=4, keep=2) for _ in range(2))
    lab.draw(5, batch_size=2, trajectory=found)
    lab.draw(2, trajectory=alone)
    assert found.times == alone.times == [1, 0.75, 0.5, 0.25, 0]
    torch.testing.assert_close(torch.stack(found.states), torch.stack(alone.states))


def test_no_samples_are_no_work_and_each_draw_counts_its_own():
    lab = pipeline(Plain())
    assert [lab.draw(3).evaluations for _ in range(2)] == [4, 4]
    drawn = lab.draw(0)
    assert (drawn.samples.shape, drawn.evaluations) == ((0, 1, 2, 2), 0)
    assert pipeline(Labelled()).draw(0, condition=[]).condition.tolist() == []


def test_a_length_needs_a_network_that_sees_blocks():
    with pytest.raises(LabError, match=r"length=8: the run draws samples of the shape \[1, 2, 2\]"):
        pipeline(Plain()).draw(1, length=8)


def test_labels_in_turn_begin_with_that_of_the_first_sample():
    lab = pipeline(Labelled())
    assert lab.labels_in_turn(4).tolist() == lab.condition(4, None).tolist() == [0, 1, 2, 0]
    assert lab.labels_in_turn(2, 5).tolist() == lab.condition(2, None, 5).tolist() == [2, 0]
    assert pipeline(Plain()).labels_in_turn(4) is None


def test_the_facts_of_a_draw_are_those_of_its_process_and_its_transforms():
    network = Labelled()
    network.condition_dropout = 0.1
    guidance = ClassifierFree(PROCESS, network, 3, scale=3.0)
    assert pipeline(network, transforms=(guidance, ClipX0(Pixels()))).facts == {"guidance": 3.0}
    assert pipeline(Plain()).facts == {}


def test_a_precision_that_there_is_not_is_refused():
    lab = pipeline(Plain(), sampler=deterministic())
    for act in (lambda: lab.draw(1, precision="16"), lambda: lab.invert(IMAGES, precision="16")):
        with pytest.raises(ValueError, match="precision must be 32-true or bf16-mixed, got 16"):
            act()


@pytest.mark.parametrize(
    ("parameterization", "transforms", "bounded"),
    [
        (Eps, (), False),
        (PosteriorMean, (), False),
        (Eps, (ClipX0(Pixels()),), True),
        (X0, (), True),
        (X0, (ClipX0(Pixels()),), True),
    ],
)
def test_the_warning_is_that_of_the_sampler_which_is_told_whether_predictions_are_bounded(
    parameterization, transforms, bounded
):
    class Warning(DPMSolverPP2M):
        def warning(self, bounded):
            return f"bounded: {bounded}"

    sampler = Warning(PROCESS, Trailing(PROCESS.schedule), 2)
    lab = Pipeline(Plain(), parameterization(PROCESS), PROCESS, Pixels(), sampler, transforms, (1, 2, 2))
    assert lab.warning == f"bounded: {bounded}"
    assert (lab.num_classes, lab.labels) == (None, None)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(LabError, match=r"start must be \[5, 1, 2, 2\], got \[3, 1, 2, 2\]"):
        pipeline(Plain()).draw(5, start=IMAGES[:3])
