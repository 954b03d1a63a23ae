"""Diffusion-LM's three terms against their formulas, with the same noise."""

import math

import pytest
import torch
from torch import nn

from diffusion_lab.codecs import TokenEmbedding
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import EmbeddingTerms
from diffusion_lab.parameterizations import X0, Denoiser
from diffusion_lab.processes import Gaussian
from diffusion_lab.runs.validate import validated
from diffusion_lab.schedules import SqrtSchedule
from diffusion_lab.vocabulary import Characters

TOKENS = torch.tensor([[0, 1, 2, 3], [3, 3, 0, 1], [2, 2, 1, 0]])
ROWS = torch.arange(3)


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, z, c_noise, condition=None):
        return self.scale * z


def parts(scale=0.5, steps=10, noise=0.2):
    torch.manual_seed(0)
    process, codec = Gaussian(SqrtSchedule(steps)), TokenEmbedding(4, Characters("abcd"), 5, noise)
    parameterization = X0(process)
    return EmbeddingTerms(process, parameterization, codec), Denoiser(Scaled(scale), parameterization), codec


def terms(scale=0.5, t=(0.1, 0.2, 1.0), **arguments):
    objective, denoiser, codec = parts(scale, **arguments)
    found = objective(denoiser, codec.encode(TOKENS), torch.tensor(t, dtype=torch.float64), Noise(ROWS, 0))
    return found, codec, denoiser


def test_each_term_is_what_the_paper_says():
    found, codec, _ = terms()
    vectors = codec.vectors[TOKENS]
    x0 = vectors + 0.2 * Noise(ROWS, 0).at("codes").normal((4, 5))
    eps = Noise(ROWS, 0).at("noise").normal((4, 5))
    alpha_bar = [1 - math.sqrt(t + 1e-4) for t in (0.1, 0.2)]
    for row, left in enumerate(alpha_bar):
        z = math.sqrt(left) * x0[row] + math.sqrt(1 - left) * eps[row]
        target = vectors[row] if row == 0 else x0[row]  # the first of ten steps
        assert found["mse"][row].item() == pytest.approx((target - 0.5 * z).square().mean().item(), rel=1e-4)
    logits = x0 @ codec.vectors.T + codec.bias
    nll = nn.functional.cross_entropy(logits.reshape(-1, 4), TOKENS.reshape(-1), reduction="none").view(3, 4)
    torch.testing.assert_close(found["rounding"], nll.mean(1))
    last = math.prod([1 - math.sqrt(0.9 + 1e-4), 1 - 0.999])  # the last beta is clipped
    torch.testing.assert_close(found["end"], (last * x0.square()).flatten(1).mean(1), rtol=1e-4, atol=0)
    torch.testing.assert_close(found["loss"], found["mse"] + found["rounding"] + found["end"])
    assert set(found) == set(EmbeddingTerms.units)


def test_the_terms_of_bfloat16_codes_are_computed_in_float32():
    objective, denoiser, codec = parts()
    codec.bfloat16()
    z0 = codec.encode(TOKENS)
    found = objective(denoiser, z0, torch.ones(3, dtype=torch.float64), Noise(ROWS, 0))
    assert {name: value.dtype for name, value in found.items()} == dict.fromkeys(EmbeddingTerms.units, torch.float32)
    x0 = z0 + 0.2 * Noise(ROWS, 0).at("codes").normal((4, 5)).bfloat16()
    left = objective.process.schedule.alpha(torch.ones(3, dtype=torch.float64)).bfloat16()[:, None, None] * x0
    torch.testing.assert_close(found["end"], left.float().square().flatten(1).mean(1), rtol=1e-6, atol=0)


def test_in_continuous_time_no_step_is_the_first():
    found, codec, _ = terms(steps=None, t=(0.0, 0.3, 0.5))
    x0 = codec.vectors[TOKENS] + 0.2 * Noise(ROWS, 0).at("codes").normal((4, 5))
    z = math.sqrt(0.99) * x0[0] + 0.1 * Noise(ROWS, 0).at("noise").normal((4, 5))[0]
    assert found["mse"][0].item() == pytest.approx((x0[0] - 0.5 * z).square().mean().item(), rel=1e-4)


def test_every_term_but_the_reading_of_codes_leaves_the_head_alone_and_the_vectors_learn_from_all():
    for name in ("mse", "rounding", "end"):
        found, codec, denoiser = terms()
        found[name].sum().backward()
        assert bool(codec.vectors.grad.any()), name
        assert (codec.bias.grad is not None and bool(codec.bias.grad.any())) is (name == "rounding")
        assert (denoiser.network.scale.grad is not None) is (name == "mse")


def test_tokens_are_read_from_codes_that_are_diffused_and_not_from_predicted_ones():
    """No network can lower that term, and vectors that are alike have the worst value, log V."""
    one, other = terms(scale=0.5)[0], terms(scale=-3.0)[0]
    assert torch.equal(one["rounding"], other["rounding"])
    objective, denoiser, codec = parts()
    codec.vectors.data.zero_()
    alike = objective(denoiser, codec.encode(TOKENS), torch.full((3,), 0.5, dtype=torch.float64), Noise(ROWS, 0))
    torch.testing.assert_close(alike["rounding"], torch.full((3,), math.log(4)))
    assert float(alike["end"].detach().max()) < 1e-4


OPTIONS = (
    "data=python_docs", "data.length=8", "codec=embedding", "schedule=sqrt", "parameterization=x0",
    "objective=embedding", "network=text_transformer", "network.width=16", "network.depth=1", "network.heads=2",
    "network.time=true", "sampler.num_steps=2", "clip=none", "trainer=cpu",
)  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["objective=simple"], "would make all codes alike, since codec=TokenEmbedding learns them"),
        (["objective=vlb"], "would make all codes alike"),
        (["codec=tokens"], "network=text_transformer needs a process of tokens"),
        (["data=digits", "codec=pixels", "network=simple_unet"], "TokenEmbedding as its codec, but codec is Pixels"),
        (["parameterization=v"], "X0 as its parameterization"),
        (["process=absorbing"], "they do not fit together"),
        (["network=dit"], "in_channels is missing"),
        (["evaluation=token_bound"], "evaluation.bound.*needs a process of the kind DiscreteProcess, got Gaussian"),
        (["evaluation=likelihood"], "evaluation.bound: .* take embedding_bound"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused_in_one_line_before_training(settings, typed, said):
    groups = [one.split("=")[0] for one in typed]
    kept = [one for one in OPTIONS if one.split("=")[0] not in groups]
    kept = [one for one in kept if one.split(".")[0] not in groups]
    with pytest.raises(LabError, match=said) as caught:
        validated(settings(*kept, *typed))
    assert "\n" not in str(caught.value)


def test_the_bound_of_embeddings_is_refused_for_tokens(settings):
    typed = ["experiment=quickstart_text", "evaluation=embedding_bound", "trainer=cpu"]
    with pytest.raises(LabError, match=r"evaluation\.bound.*needs a process of the kind Gaussian"):
        validated(settings(*typed))
