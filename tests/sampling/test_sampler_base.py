"""What every sampler and every transform of a denoiser has, unless it says otherwise."""

import pytest
import torch

from diffusion_lab.codecs import Pixels, TokenEmbedding
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Absorbing, Gaussian, TokenLogProbs
from diffusion_lab.sampling import ClipX0, DynamicThreshold, Euler, NearestEmbedding, Nucleus, State
from diffusion_lab.sampling.base import full_time
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import FlowSchedule, LogLinearSchedule
from diffusion_lab.vocabulary import Characters

TRANSFORMS = {
    "clip": ClipX0(Pixels()), "threshold": DynamicThreshold(Pixels()),
    "nearest": NearestEmbedding(TokenEmbedding(4, Characters("abc"), 2)),
    "nucleus": Nucleus(Absorbing(LogLinearSchedule(), 2), 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_asks_the_denoiser_what_it_is_asked(name):
    z_t, t, condition = torch.zeros(3, 4, 2), torch.full((3,), 0.5, dtype=torch.float64), torch.tensor([2, 0, 1])
    raw, seen = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0)), []

    def denoiser(*arguments):
        seen.append(arguments)
        one = torch.ones(3, 1, 1)
        return TokenLogProbs(raw.log_softmax(-1)) if name == "nucleus" else GaussianPrediction(z_t, one, one, raw, "x0")

    TRANSFORMS[name](denoiser)(z_t, t, condition)
    ((of_z, of_t, of_condition),) = seen
    assert (of_z is z_t, of_t is t, of_condition is condition) == (True, True, True)


def test_times_are_told_to_every_sample_in_double_precision():
    t = full_time(1 / 3, Noise(torch.arange(5), 0))
    assert (t.dtype, t.tolist()) == (torch.float64, [1 / 3] * 5)


def test_a_sampler_is_that_of_any_length_and_draws_all_positions_at_once():
    process = Gaussian(FlowSchedule())
    sampler = Euler(process, Trailing(process.schedule), 2)
    assert sampler.of_length(7) is sampler
    assert sampler.drawn(sampler.steps[0]) == slice(None)
    assert not sampler.by_blocks
    assert State(torch.zeros(1)).history == {}
