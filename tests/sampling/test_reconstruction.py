"""What is read in sequences that are destroyed in part, against Bayes over all sequences."""

import contextlib
import itertools

import pytest
import torch

from diffusion_lab.codecs import Tokens
from diffusion_lab.parameterizations import Logits, Substitution
from diffusion_lab.processes import Absorbing, Uniform
from diffusion_lab.sampling import Ancestral, Pipeline, reconstruct
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import LogLinearSchedule
from oracles.markov_text import ExactBlocks, ExactMasked, ExactUniform, Joint

JOINT = Joint.random(3, 4, sharpness=3.0)
#: Every way to destroy some of four tokens, of each of nine sequences.
DESTROYED = torch.tensor(list(itertools.product((False, True), repeat=4))[1:])
Z0 = JOINT.draw(9).repeat_interleave(len(DESTROYED), 0)
DESTROYED = DESTROYED.repeat(9, 1)


def read(process, parameterization, network):
    sampler = Ancestral(process, Trailing(process.schedule), num_steps=2)
    pipeline = Pipeline(network, parameterization, process, Tokens(3, None), sampler, (), (4,))
    z_t, guesses = reconstruct(pipeline, Z0, DESTROYED)
    assert torch.equal(z_t[~DESTROYED], Z0[~DESTROYED])
    return z_t, guesses


def test_masks_are_read_as_the_likeliest_token_and_open_ones_as_they_are():
    process = Absorbing(LogLinearSchedule(), 3)
    z_t, guesses = read(process, Substitution(process), ExactMasked(JOINT))
    assert bool((z_t[DESTROYED] == process.mask).all())
    fits = ((z_t[:, None] == JOINT.sequences) | (z_t == process.mask)[:, None]).all(-1).double()
    assert torch.equal(guesses, JOINT.conditionals(fits).argmax(-1))


def test_of_random_tokens_what_stands_there_counts_as_well():
    schedule = LogLinearSchedule()
    process = Uniform(schedule, 3)
    network = ExactUniform(JOINT, lambda c_noise: schedule.survival(c_noise / 1000))
    z_t, guesses = read(process, Logits(process), network)
    survives = 1 - DESTROYED.double().mean(1)[:, None, None]
    likelihood = (survives * (z_t[:, None] == JOINT.sequences) + (1 - survives) / 3).prod(-1)
    assert torch.equal(guesses, JOINT.conditionals(likelihood).argmax(-1))


@pytest.mark.parametrize("size", [1, 2])
def test_blocks_are_read_after_the_clean_ones_before_them(size):
    process = Absorbing(LogLinearSchedule(), 3)
    _, guesses = read(process, Substitution(process), ExactBlocks(JOINT, size))
    for first in range(0, 4, size):
        here = slice(first, first + size)
        hidden = torch.ones_like(DESTROYED)
        hidden[:, :first], hidden[:, here] = False, DESTROYED[:, here]
        fits = ((Z0[:, None] == JOINT.sequences) | hidden[:, None]).all(-1).double()
        assert torch.equal(guesses[:, here], JOINT.conditionals(fits).argmax(-1)[:, here])


class Moody(ExactMasked):
    """Keeps the modes in which it is asked, and fails if it is told to."""

    def __init__(self, joint, fails=False):
        super().__init__(joint)
        self.modes, self.fails = [], fails

    def forward(self, x, c_noise, condition=None):
        self.modes.append((self.training, torch.is_grad_enabled()))
        if self.fails:
            raise RuntimeError("asked")
        return super().forward(x, c_noise)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_network_is_asked_without_dropout_and_left_in_its_mode(training, fails):
    process = Absorbing(LogLinearSchedule(), 3)
    network = Moody(JOINT, fails).train(training)
    with pytest.raises(RuntimeError, match="asked") if fails else contextlib.nullcontext():
        read(process, Substitution(process), network)
    assert network.modes == [(False, False)]
    assert network.training is training


def test_what_an_untrained_output_says_of_an_open_token_is_not_asked():
    process = Absorbing(LogLinearSchedule(8), 3)

    class Contrary(ExactMasked):
        def forward(self, x, c_noise, condition=None):
            assert bool((c_noise >= 0).all())
            away = torch.nn.functional.one_hot((x + 1) % 3, 3).double()
            return torch.where((x == process.mask)[..., None], super().forward(x, c_noise), 9 * away)

    _, guesses = read(process, Logits(process), Contrary(JOINT))
    assert torch.equal(guesses[~DESTROYED], Z0[~DESTROYED])


def test_where_nothing_is_destroyed_the_network_is_told_a_time_shortly_after_0():
    process, told = Absorbing(LogLinearSchedule(), 3), []

    class Told(ExactMasked):
        def forward(self, x, c_noise, condition=None):
            told.extend(c_noise.tolist())
            return super().forward(x, c_noise)

    sampler = Ancestral(process, Trailing(process.schedule), num_steps=2)
    pipeline = Pipeline(Told(JOINT), Substitution(process), process, Tokens(3, None), sampler, (), (4,))
    reconstruct(pipeline, Z0[:2], torch.tensor([[False] * 4, [False, True] * 2]))
    assert told == pytest.approx([1, 500])
