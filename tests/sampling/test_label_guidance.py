"""Guidance of tokens towards a label, against the exact distributions with it and without."""

import itertools

import pytest
import torch
from scipy import stats
from torch import nn

from diffusion_lab.codecs import Tokens
from diffusion_lab.parameterizations import Substitution
from diffusion_lab.processes import Absorbing
from diffusion_lab.sampling import ClassifierFree, FirstHitting, Pipeline
from diffusion_lab.schedules import LogLinearSchedule
from oracles.markov_text import ExactMasked, Joint

COUNT = 20_000


class ExactLabelled(nn.Module):
    """The exact conditionals of two classes of sequences, and of their even mixture for the null label."""

    takes_time, condition, condition_dropout = False, "label", 0.1

    def __init__(self, first, second):
        super().__init__()
        mixed = Joint((first.probs + second.probs) / 2, first.vocab_size, first.length)
        self.exact = nn.ModuleList(map(ExactMasked, (first, second, mixed)))

    def forward(self, x, c_noise, condition=None):
        found = torch.stack([exact(x, c_noise) for exact in self.exact])
        return found[condition, torch.arange(len(x))]


def guided(joint, free, scale):
    """Return the probabilities of pairs, drawn one after the other in either order, by p(· | c)^w p(·)^(1 − w)."""
    given, null = (one.probs.view(3, 3) for one in (joint, free))
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for first, second in itertools.permutations(range(2)):
        one = given.sum(second) ** scale * null.sum(second) ** (1 - scale)
        rows = (given, null) if first == 0 else (given.T, null.T)
        c, u = (table / table.sum(1, keepdim=True) for table in rows)
        other = c**scale * u ** (1 - scale)
        both = (one / one.sum())[:, None] * other / other.sum(1, keepdim=True)
        expected += (both if first == 0 else both.T) / 2
    return expected.flatten()


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_tokens_are_drawn_as_guidance_towards_the_label_says(scale):
    classes = Joint.random(3, 2, seed=1), Joint.random(3, 2, seed=2)
    process, network = Absorbing(LogLinearSchedule(), 3), ExactLabelled(*classes)
    guidance = ClassifierFree(process, network, 2, scale=scale)
    sampler, codec = FirstHitting(process, 2), Tokens(3, None)
    pipeline = Pipeline(network, Substitution(process), process, codec, sampler, (guidance,), (2,), num_classes=2)
    label = 1
    drawn = pipeline.draw(COUNT, batch_size=COUNT, condition=torch.full((COUNT,), label))
    found = torch.bincount(drawn.samples @ torch.tensor([3, 1]), minlength=9).numpy()
    expected = guided(classes[label], network.exact[2].joint, scale).numpy()
    assert stats.chisquare(found, COUNT * expected).pvalue > 1e-3
    assert drawn.evaluations == (2 if scale == 1 else 4)
