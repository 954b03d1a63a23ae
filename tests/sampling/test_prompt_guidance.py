"""Guidance towards a prompt, against the exact distributions with it and without."""

import pytest
import torch
from scipy import stats

from diffusion_lab.codecs import Tokens
from diffusion_lab.errors import LabError
from diffusion_lab.parameterizations import Substitution
from diffusion_lab.processes import Absorbing, Uniform
from diffusion_lab.sampling import Ancestral, ClassifierFree, FirstHitting, GivenTokens, Pipeline
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import LogLinearSchedule
from oracles.markov_text import ExactMasked, Joint

COUNT = 20_000


def pipeline(joint, sampler, scale):
    process, network = Absorbing(LogLinearSchedule(), joint.vocab_size), ExactMasked(joint)
    guidance = ClassifierFree(process, network, None, scale=scale)
    codec = Tokens(joint.vocab_size, None)
    return Pipeline(network, Substitution(process), process, codec, sampler(process), (guidance,), (joint.length,))


def starting_with(token, length):
    return GivenTokens(torch.full((length,), token), torch.arange(length) == 0, mask=3)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_the_rest_of_a_text_is_drawn_as_guidance_says(scale):
    """Of two tokens of which the first is given: p(b | a)^w p(b)^(1 − w), normalized."""
    joint = Joint.random(3, 2)
    probs = joint.probs.view(3, 3)
    expected = (probs[2] / probs[2].sum()) ** scale * probs.sum(0) ** (1 - scale)
    drawn = pipeline(joint, lambda process: FirstHitting(process, 2), scale).draw(
        COUNT, batch_size=COUNT, constraint=starting_with(2, 2)
    )
    assert bool((drawn.samples[:, 0] == 2).all())
    found = torch.bincount(drawn.samples[:, 1], minlength=3).numpy()
    assert stats.chisquare(found, (COUNT * expected / expected.sum()).numpy()).pvalue > 1e-3


def test_each_state_costs_two_evaluations_however_many_steps_there_are():
    def steps(process):
        return Ancestral(process, Trailing(process.schedule), num_steps=100)

    drawn = pipeline(Joint.random(3, 3), steps, 2.0).draw(50, batch_size=50, constraint=starting_with(2, 3))
    assert drawn.evaluations == 2 * 3  # with two, one and none of the tokens missing


def test_there_must_be_something_to_lead_to():
    with pytest.raises(LabError, match=r"towards labels .* or towards a prompt .* and there is neither"):
        pipeline(Joint.random(3, 2), lambda process: FirstHitting(process, 2), 2.0).draw(1)


def test_a_process_without_masks_cannot_leave_a_prompt_out():
    process = Uniform(LogLinearSchedule(remaining=0.01), 3)
    with pytest.raises(ValueError, match="guidance=cfg needs a network that takes labels"):
        ClassifierFree(process, torch.nn.Linear(1, 1), None)
