"""Each option trains a step and draws on a device that is not the CPU, and leaves nothing behind on the CPU."""

import pytest
import torch

import test_combinations as images
import test_token_combinations as tokens
from covering import covering_array
from diffusion_lab.noise import Noise
from diffusion_lab.runs.validate import validated
from pretended_device import There, moved, pretended_device

IMAGES = [
    row | {"mean": "v"} if images.impossible(row) else row
    for row in covering_array(images.EVERY, 1, images.FORBIDDEN)[0]
]
TOKENS, _ = covering_array(tokens.EVERY, 1, tokens.FORBIDDEN)


def stepped(parts, z0, labels):
    """Train a step, and draw two samples."""
    moved(parts.module)
    noise = Noise(torch.arange(len(z0), device=z0.device), 0, "train")
    t = parts.module.time_sampling(noise.at("time"))
    terms = parts.module.objective(parts.module.denoiser, z0, t, noise, labels)
    assert all(isinstance(term, There) for term in terms.values())
    terms["loss"].mean().backward()
    for parameter in parts.module.parameters():
        assert isinstance(parameter.grad, There)
    assert parts.pipeline.draw(2).samples.shape == (2, *parts.data.shape)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_images(settings, number):
    parts = validated(settings(*images.typed(IMAGES[number])))
    with pretended_device() as device:
        rows = torch.arange(3, device=device)
        z0 = Noise(rows, 0, "images").uniform(parts.data.shape).float() * 2 - 1
        stepped(parts, z0, None if parts.pipeline.labels is None else rows)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(TOKENS)))
def test_tokens(settings, number):
    parts = validated(settings(*tokens.typed(TOKENS[number])))
    parts.data.prepare_data()
    stored, _ = parts.data.split("train", 3)
    with pretended_device() as device:
        z0 = parts.pipeline.codec.encode(stored.to(device))
        stepped(parts, z0, torch.arange(3, device=device) if TOKENS[number]["labels"] == "yes" else None)


def test_what_is_mixed_with_the_cpu_is_told():
    """The tests of this file rely on it."""
    with pretended_device() as device:
        x = torch.arange(3, device=device)
        assert (x + 1).tolist() == [1, 2, 3]
        assert torch.equal(x.cpu(), torch.arange(3))
        assert (x * torch.tensor(2)).tolist() == [0, 2, 4]
        assert torch.tensor([1.5, 2], device=device).add(1).cpu().tolist() == [2.5, 3]
        for mixed in (lambda: x + torch.ones(3), lambda: torch.cat([x, torch.ones(3)]), lambda: torch.ones(3)[x]):
            with pytest.raises(RuntimeError, match="on the"):
                mixed()
