"""Block diffusion's sampler against the joint distribution that a table of predictions stands for."""

import contextlib
import itertools

import pytest
import torch
from scipy import stats
from torch import nn

from diffusion_lab.codecs import Tokens
from diffusion_lab.errors import LabError
from diffusion_lab.networks import TextTransformer
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Logits, LogScores, Substitution
from diffusion_lab.processes import Absorbing, Uniform
from diffusion_lab.sampling import (
    Ancestral,
    Blocks,
    ClassifierFree,
    Confidence,
    FirstHitting,
    GivenTokens,
    Nucleus,
    Pipeline,
    Remasking,
    Sampler,
    State,
    Trajectory,
    Tweedie,
    draw,
)
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import LogLinearSchedule
from network_checks import awaken

VOCAB, LENGTH, SIZE = 3, 4, 2


class Table(nn.Module):
    """Logits [B, n, 3] that follow from the tokens of a position's block and those before, as a table would give them.

    They are no conditionals of one distribution: the order in which a block is opened matters.
    """

    takes_time = True  # it is asked for whole sequences
    block_size = SIZE

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, c_noise, condition=None):
        place = torch.arange(x.shape[1])
        code = (x * (1.3 + place) ** 1.5).cumsum(1)[:, place // SIZE * SIZE + SIZE - 1]
        return 1.5 * torch.sin((code + 0.7 * place)[..., None] + 2.0 * torch.arange(VOCAB))


def absorbing():
    return Absorbing(LogLinearSchedule(), VOCAB)


def pipeline(network, sampler, process, parameterization=Substitution, transforms=()):
    return Pipeline(network, parameterization(process), process, Tokens(VOCAB, None), sampler, transforms, (LENGTH,))


def by_first_hitting(process, network):
    return Blocks(process, network, LENGTH, FirstHitting(process, LENGTH))


def joint_of(process, network):
    """The probability of each sequence [V^L]: blocks from left to right, the masks of each opened in a random order."""
    sequences = torch.tensor(list(itertools.product(range(VOCAB), repeat=LENGTH)))
    joint = torch.ones(len(sequences), dtype=torch.float64)
    for first in range(0, LENGTH, SIZE):
        orders = list(itertools.permutations(range(first, first + SIZE)))
        in_order = torch.ones(len(orders), len(sequences), dtype=torch.float64)
        for number, order in enumerate(orders):
            state = torch.full_like(sequences, process.mask)
            state[:, :first] = sequences[:, :first]
            for place in order:
                probs = network(state, None)[:, place].double().softmax(-1)
                in_order[number] *= probs.gather(1, sequences[:, place, None])[:, 0]
                state[:, place] = sequences[:, place]
        joint *= in_order.mean(0)
    return sequences, joint


def test_first_hitting_within_blocks_draws_the_joint_of_the_model():
    process, network = absorbing(), Table()
    joint = joint_of(process, network)[1]
    assert float(joint.sum()) == pytest.approx(1)
    count = 20_000
    drawn = pipeline(network, by_first_hitting(process, network), process).draw(count, batch_size=count)
    found = torch.bincount((drawn.samples * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(1), minlength=len(joint))
    assert stats.chisquare(found.numpy(), (count * joint).numpy()).pvalue > 1e-3
    # A rival that draws the blocks without regard for each other is far away.
    alone = joint.view(9, 9).sum(1)[:, None] * joint.view(9, 9).sum(0)
    assert stats.chisquare(found.numpy(), (count * alone).flatten().numpy()).pvalue < 1e-6


def test_given_tokens_stay_and_their_block_is_drawn_given_them():
    """A token of the second block: the first block is as without it, and the rest of the second as it demands."""
    process, network = absorbing(), Table()
    given = GivenTokens(torch.tensor([0, 0, 0, 2]), torch.tensor([False, False, False, True]))
    count = 20_000
    drawn = pipeline(network, by_first_hitting(process, network), process).draw(
        count, batch_size=count, constraint=given
    )
    assert bool((drawn.samples[:, 3] == 2).all())
    sequences, joint = joint_of(process, network)
    first = joint.view(9, 9).sum(1)
    state = sequences.view(9, 9, LENGTH)[:, 0].clone()
    state[:, 2:] = torch.tensor([process.mask, 2])
    expected = first[:, None] * network(state, None)[:, 2].double().softmax(-1)
    found = torch.bincount((drawn.samples[:, :3] * torch.tensor([9, 3, 1])).sum(1), minlength=27)
    assert stats.chisquare(found.numpy(), (count * expected).flatten().numpy()).pvalue > 1e-3


def transformer(process, block_size=SIZE, **arguments):
    torch.manual_seed(0)
    network = TextTransformer(
        process.num_states, VOCAB, length=LENGTH, width=16, depth=2, heads=2, block_size=block_size, **arguments
    )
    return awaken(network, std=0.5).eval()


WITHIN = {
    "first_hitting": lambda p, grid: FirstHitting(p, LENGTH),
    "ancestral": lambda p, grid: Ancestral(p, grid, num_steps=5),
    "confidence": lambda p, grid: Confidence(p, LENGTH, num_steps=2),
    "remasking": lambda p, grid: Remasking(p, grid, num_steps=5, strength=0.3),
    "tweedie": lambda p, grid: Tweedie(p, grid, num_steps=3),
}


@pytest.mark.parametrize("name", list(WITHIN))
@pytest.mark.parametrize("convolution", [0, 5])
def test_a_draw_is_the_same_with_and_without_memory_and_any_sampler_draws_a_block(name, convolution):
    process = Absorbing(LogLinearSchedule(remaining=1e-3), VOCAB)
    network = transformer(process, convolution=convolution)
    sampler = Blocks(process, network, LENGTH, WITHIN[name](process, Trailing(process.schedule)))
    parts = pipeline(network, sampler, process)
    given = GivenTokens(torch.tensor([0, 1, 0, 0, 2, 0]), torch.tensor([False, True, False, False, True, False]))
    with_memory = parts.draw(50, length=6, constraint=given)
    assert bool((with_memory.samples < VOCAB).all())
    assert bool((with_memory.samples[:, [1, 4]] == torch.tensor([1, 2])).all())
    network.takes_time = True  # which has no memory
    without = parts.draw(50, length=6, constraint=given)
    assert torch.equal(with_memory.samples, without.samples)
    if name == "ancestral":  # some steps change nothing
        assert with_memory.evaluations < without.evaluations
    assert with_memory.evaluations <= without.evaluations


def test_a_block_is_asked_for_alone_with_what_is_known_of_those_before():
    process = absorbing()
    network, asked = transformer(process), []
    network.register_forward_pre_hook(lambda module, given: asked.append(tuple(given[0].shape)))
    parts = pipeline(network, by_first_hitting(process, network), process)
    parts.draw(8, length=8)
    # Each new block with the last one, complete by now; from the third on the window moves, and is seen anew.
    assert asked == [(8, 2), (8, 2), (8, 4), (8, 2), (8, 4), (8, 2), (8, 4), (8, 2)]


def test_of_the_last_block_only_the_rows_that_changed_are_asked_for_again():
    """Of those before it all are, since what is computed of them is of use later."""
    process, asked = absorbing(), []
    network = transformer(process)
    denoiser, plain = (Denoiser(network, Substitution(process)) for _ in range(2))
    t, start = torch.ones(3, dtype=torch.float64), torch.full((3, LENGTH), process.mask)
    start[:, :SIZE] = 1
    later, earlier = start.clone(), start.clone()
    later[1, 3], earlier[1, 0] = 2, 0
    states = (start, later, earlier)
    hook = network.register_forward_pre_hook(lambda module, given: asked.append(tuple(given[0].shape)))
    with denoiser.remembering():
        found = [denoiser(z, t).x0 for z in states]
    assert asked == [(3, 4), (1, 2), (3, 4)]
    hook.remove()
    for z, x0 in zip(states, found, strict=True):
        torch.testing.assert_close(x0, plain(z, t).x0)


class Remembers(Sampler):
    """Leaves the state alone, and notes how many steps it remembers."""

    def __init__(self):
        super().__init__([(1.0, 0.5), (0.5, 0.0)])
        self.remembered = []

    def step(self, state, t, s, denoiser, noise):
        count = state.history.get("count", torch.zeros(1))
        self.remembered.append(int(count))
        return State(state.z, {"count": count + 1})

    def warning(self, bounded):
        return f"bounded: {bounded}"


def test_a_block_is_begun_without_what_is_remembered_of_the_one_before():
    within, z = Remembers(), torch.zeros(3, LENGTH, dtype=torch.int64)
    sampler = Blocks(absorbing(), Table(), LENGTH, within)
    assert torch.equal(draw(None, sampler, z, Noise(torch.arange(3), 0)), z)
    assert within.remembered == [0, 1, 0, 1]


def test_a_step_and_a_warning_are_those_of_the_sampler_within():
    within, z = Remembers(), torch.zeros(3, LENGTH, dtype=torch.int64)
    sampler = Blocks(absorbing(), Table(), LENGTH, within)
    t, s = (torch.full((3,), time, dtype=torch.float64) for time in sampler.steps[1])
    after = sampler.step(State(z, {"count": torch.full((1,), 7.0)}), t, s, None, Noise(torch.arange(3), 0))
    assert (within.remembered, after.history) == ([7], {"count": 8})
    assert [sampler.warning(bounded) for bounded in (False, True)] == ["bounded: False", "bounded: True"]


@pytest.mark.parametrize("length", [1, 3, 4, 9])
@pytest.mark.parametrize("convolution", [0, 5])
def test_a_draw_goes_on_for_any_length_and_begins_the_same(length, convolution):
    process = absorbing()
    network = transformer(process, convolution=convolution)
    parts = pipeline(network, by_first_hitting(process, network), process)
    drawn, longer = parts.draw(20, length=length).samples, parts.draw(20, length=length + 2).samples
    assert drawn.shape == (20, length)
    assert bool((drawn < VOCAB).all())
    assert torch.equal(longer[:, : length // SIZE * SIZE], drawn[:, : length // SIZE * SIZE])


def test_beyond_the_length_of_training_a_block_sees_as_many_tokens_as_there():
    process, widths = absorbing(), []
    network = Table()
    network.register_forward_pre_hook(lambda module, given: widths.append(given[0].shape[1]))
    pipeline(network, by_first_hitting(process, network), process).draw(2, length=10)
    assert widths == [2, 2, 4, 4, 4, 4, 4, 4, 4, 4]


def test_temperature_scores_and_uniform_tokens_go_with_blocks():
    process = absorbing()
    network = transformer(process)
    cold = pipeline(network, by_first_hitting(process, network), process, transforms=[Nucleus(process, 0.0)])
    one, other = cold.draw(30, seed=0).samples, cold.draw(30, seed=0).samples
    assert torch.equal(one, other)
    assert len(one.unique(dim=0)) <= 4  # but for the order, nothing is left to chance
    for process, parameterization in (
        (Absorbing(LogLinearSchedule(remaining=1e-3), VOCAB), LogScores),
        (Uniform(LogLinearSchedule(remaining=1e-3), VOCAB), Logits),
    ):
        network = transformer(process)
        for within in (Tweedie, Ancestral):
            sampler = Blocks(process, network, LENGTH, within(process, Trailing(process.schedule), num_steps=4))
            samples = pipeline(network, sampler, process, parameterization).draw(20, length=8).samples
            assert samples.shape == (20, 8)
            assert bool((samples < VOCAB).all())


def test_the_confidence_in_tokens_of_blocks_is_that_before_the_temperature():
    """At temperature 0 every token is certain; a trajectory shows how likely the network found it."""
    process, network = absorbing(), Table()
    parts = pipeline(network, by_first_hitting(process, network), process, transforms=[Nucleus(process, 0.0)])
    trajectory, states = Trajectory(frames=4, keep=1), []
    parts.draw(1, trajectory=trajectory, on_step=lambda step: states.append((step.before, step.z)))
    expected = torch.full((1, LENGTH), torch.nan)
    for before, after in states:
        place = int((before != after).nonzero()[0, 1])
        known = before[:, : place // SIZE * SIZE + SIZE]
        expected[0, place] = network(known, None)[0, place].softmax(-1)[after[0, place]]
    torch.testing.assert_close(trajectory.confidence[-1], expected)
    assert float(expected.max()) < 0.999


def test_guidance_leads_towards_labels_and_not_towards_a_prompt():
    """A network that sees blocks knows no masks before a block, and so no state without the prompt."""
    process = absorbing()
    network = transformer(process, labels=True, num_classes=3)
    network.label_embedding.weight.data.mul_(100)
    prompt = GivenTokens(torch.tensor([0, 1, 2, 0]), torch.tensor([True, False, False, False]), process.mask)

    def drawn(scale, memory=True):
        guidance = ClassifierFree(process, network, 3, scale=scale)
        parts = Pipeline(
            network, Substitution(process), process, Tokens(VOCAB, None), by_first_hitting(process, network),
            (guidance,), (LENGTH,), 3,
        )  # fmt: skip
        if not memory:
            parts.plain_denoiser.remembering = contextlib.nullcontext
        return parts.draw(40, condition=[0, 1] * 20, constraint=prompt)

    with_memory = drawn(3.0)
    assert not torch.equal(with_memory.samples, drawn(0.0).samples)
    without = drawn(3.0, memory=False)
    assert torch.equal(with_memory.samples, without.samples)
    with pytest.raises(ValueError, match="guidance=cfg needs a network that takes labels"):
        ClassifierFree(process, transformer(process), None)


def test_what_does_not_fit_is_refused():
    process = absorbing()
    network, plain = transformer(process), transformer(process, None)
    with pytest.raises(ValueError, match=r"network\.block_size=16"):
        Blocks(process, plain, LENGTH, FirstHitting(process, LENGTH))
    with pytest.raises(ValueError, match=r"sampler\.within"):
        Blocks(process, network, LENGTH, by_first_hitting(process, network))
    with pytest.raises(LabError, match=r"length=9: .* \[4\], as in training"):
        pipeline(plain, FirstHitting(process, LENGTH), process).draw(2, length=9)
