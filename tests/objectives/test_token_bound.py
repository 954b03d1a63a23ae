"""The bound of block diffusion against masked diffusion, and against the cross-entropy of an autoregressive model."""

import itertools
import math

import pytest
import torch

from diffusion_lab.networks import TextTransformer
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import TokenBound, UniformTimes
from diffusion_lab.parameterizations import Denoiser, Logits, LogScores, Substitution
from diffusion_lab.processes import Absorbing, Uniform, block_times
from diffusion_lab.schedules import LogLinearSchedule, PolynomialSchedule
from network_checks import awaken

VOCAB, LENGTH = 3, 4


def model(block_size, process, parameterization=Substitution):
    torch.manual_seed(0)
    network = TextTransformer(
        process.num_states, VOCAB, length=LENGTH, width=16, depth=2, heads=2, block_size=block_size
    )
    return Denoiser(awaken(network, std=0.5).eval(), parameterization(process))


def data(count=64):
    return torch.randint(VOCAB, (count, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("process", "parameterization"),
    [
        (Absorbing(LogLinearSchedule(), VOCAB), Substitution), (Absorbing(PolynomialSchedule(2.0), VOCAB), Logits),
        (Absorbing(LogLinearSchedule(remaining=0.01), VOCAB), LogScores), (Uniform(LogLinearSchedule(), VOCAB), Logits),
        (Uniform(LogLinearSchedule(8), VOCAB), Logits),
    ],
)  # fmt: skip
def test_a_block_of_the_whole_length_is_diffusion_without_blocks(process, parameterization):
    z0, noise = data(), Noise(torch.arange(64), 0)
    t = (torch.arange(64) % 8 + 1).double() / 8
    one, plain = (
        TokenBound(process, 0.1)(model(size, process, parameterization), z0, t, noise) for size in (LENGTH, None)
    )
    assert plain.keys() == one.keys() == {"loss", "bound", "nll"}
    for name, value in plain.items():
        torch.testing.assert_close(one[name], value, atol=1e-5, rtol=1e-5)


def test_independent_times_and_no_time_told_make_the_loss_of_llada():
    """Σ over masks of the cross-entropy, over the probability of a mask and the length (LLaDA, eq. 3), by rows."""
    process, z0, noise = Absorbing(LogLinearSchedule(), VOCAB), data(), Noise(torch.arange(64), 2)
    denoiser = model(None, process)
    t = UniformTimes(process, 64)(noise.at("time"))
    loss = TokenBound(process)(denoiser, z0, t, noise)["loss"]
    z_t = process.sample(z0, t, noise.at("noise")).z_t
    logits = denoiser.network(z_t, torch.full((64,), torch.nan))  # a time would show
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), z0, reduction="none")
    llada = torch.where(z_t == process.mask, nll / t[:, None], 0).sum(1) / LENGTH
    torch.testing.assert_close(loss, llada.float(), atol=1e-5, rtol=1e-5)
    assert len(loss.unique()) > 50


def test_blocks_of_one_token_have_the_cross_entropy_of_an_autoregressive_model():
    """In the mean over all masks, by enumeration, whatever the times are: a mask after what is before is the query."""
    process = Absorbing(LogLinearSchedule(), VOCAB)
    denoiser, z0 = model(1, process), data(16)
    nll = torch.zeros(16, dtype=torch.float64)
    for place in range(LENGTH):
        before = torch.cat([z0[:, :place], torch.full((16, 1), process.mask)], dim=1)
        log_probs = denoiser.network(before, None)[:, -1].log_softmax(-1)
        nll -= log_probs.gather(1, z0[:, place, None])[:, 0] / LENGTH
    t = block_times(torch.linspace(0.01, 1, 16, dtype=torch.float64), LENGTH, None, Noise(torch.arange(16), 0))
    mean = torch.zeros(16, dtype=torch.float64)
    for masks in itertools.product((False, True), repeat=LENGTH):
        masked = torch.tensor(masks).expand(16, LENGTH)
        z_t = torch.where(masked, process.mask, z0)
        probability = torch.where(masked, t, 1 - t).prod(1)
        mean += probability * process.bound(denoiser(z_t, t, None, z0), z0, z_t, t)
    torch.testing.assert_close(mean, nll, atol=1e-5, rtol=1e-5)


def test_each_block_is_destroyed_by_a_time_of_its_own_and_predicted_from_clean_ones():
    """The objective against the bound of each block by itself, after the clean blocks before it."""
    process = Absorbing(LogLinearSchedule(), VOCAB)
    denoiser, z0, noise = model(2, process), data(), Noise(torch.arange(64), 3)
    t = 1 - noise.at("time").uniform()
    loss = TokenBound(process)(denoiser, z0, t, noise)["loss"]
    times = block_times(t, 2, None, noise.at("blocks"))
    z_t = process.sample(z0, times.repeat_interleave(2, 1), noise.at("noise")).z_t
    expected = torch.zeros(64)
    for block in range(2):
        here = slice(2 * block, 2 * block + 2)
        state = torch.cat([z0[:, : 2 * block], z_t[:, here]], 1)
        nll = torch.nn.functional.cross_entropy(
            denoiser.network(state, None)[:, here].flatten(0, 1), z0[:, here].flatten(), reduction="none"
        ).view(64, 2)
        expected += torch.where(z_t[:, here] == process.mask, nll, 0).sum(1) / times[:, block] / LENGTH
    torch.testing.assert_close(loss, expected.float(), atol=1e-5, rtol=1e-5)
    assert 0.2 < float((z_t == process.mask).double().mean()) < 0.8


@pytest.mark.parametrize("steps", [None, 8])
@pytest.mark.parametrize("kind", [Absorbing, Uniform])
def test_its_terms_are_means_over_all_dimensions_of_a_state(kind, steps):
    process, generator = kind(LogLinearSchedule(steps), VOCAB), torch.Generator().manual_seed(2)
    z0, raw = data(8), torch.randn(8, LENGTH, VOCAB, generator=generator)
    t = torch.arange(1, 9, dtype=torch.float64) / 8

    def terms(*shape):
        denoiser = Denoiser(lambda *_: raw.view(8, *shape, VOCAB), Logits(process))
        return TokenBound(process, 0.1)(denoiser, z0.view(8, *shape), t, Noise(torch.arange(8), 4))

    found = terms(2, LENGTH // 2)
    for name, value in terms(LENGTH).items():
        torch.testing.assert_close(found[name], value)
        assert value.dtype == torch.float32


@pytest.mark.parametrize("factor", [-0.1, math.inf, math.nan])
def test_the_factor_of_the_cross_entropy_is_a_number_that_is_not_negative(factor):
    with pytest.raises(ValueError, match=rf"objective\.cross_entropy must be 0 or more and finite, got {factor}"):
        TokenBound(Absorbing(LogLinearSchedule(), VOCAB), factor)
