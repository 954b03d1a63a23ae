"""One made-up sample through all parts of a run, before anything is written."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.config.build import Parts
from diffusion_lab.errors import LabError
from diffusion_lab.figures import grid_sheet
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.sampling import State


def check_parts_fit(parts: Parts) -> None:
    """Compute the loss of one sample of zeros, and take the first step of a draw.

    Neither the network nor torch's generator is changed.

    Raises:
        LabError: if data, codec, process, network, parameterization and objective do not go together.
    """
    module = parts.module
    denoiser = Denoiser(parts.network, module.denoiser.parameterization)
    row = torch.zeros(1, dtype=torch.int64)
    condition = None if parts.pipeline.labels is None else row
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            z0 = module.codec.encode(parts.data.example())
            noise = Noise(row, 0)
            t = module.time_sampling(noise.at("time"))
            terms = module.objective(denoiser, z0, t, noise, condition)
            if condition is not None and parts.network.condition_dropout:  # the null label is a label, too
                module.objective(denoiser, z0, t, noise, torch.full_like(row, parts.data.num_classes or 0))
            drawn = _first_step(parts, condition)
    except LabError:
        raise
    except Exception as error:  # any part may refuse in any way
        text = " ".join(str(error).split())[:300]
        raise LabError(
            f"the parts do not go together: one sample could not be passed through them ({type(error).__name__}: "
            f"{text}); data, codec, process, network, parameterization, objective, sampler, guidance and clip decide"
        ) from error
    finally:
        for part, mode in modes.items():
            part.training = mode
    if z0.shape[1:] != torch.Size(parts.pipeline.shape):
        raise LabError(
            f"the codec turns data of the shape {list(parts.data.shape)} into codes of {list(z0.shape[1:])}, and says "
            f"that they are {list(parts.pipeline.shape)}"
        )
    if drawn.shape[1:] != torch.Size(parts.data.shape):
        raise LabError(f"codec: it decodes to {list(drawn.shape[1:])}, and the data is {list(parts.data.shape)}")
    for name, value in terms.items():
        if value.shape != (1,):
            raise LabError(f"objective: the term {name} must have one number for each sample, got {list(value.shape)}")


def _first_step(parts: Parts, condition: Tensor | None) -> Tensor:
    """Return a sample [1, *D] after one step from the prior, decoded; it is shown, too, to see that it can be."""
    pipeline = parts.pipeline
    noise = Noise(torch.zeros(1, dtype=torch.int64), 0)
    start = State(pipeline.process.prior(pipeline.shape, noise.at("prior")))
    sampler, noise = pipeline.sampler, noise.at("step")
    after = sampler.take(start, sampler.steps[0], lambda z, t: pipeline.denoiser(z, t, condition), noise)
    sample = pipeline.codec.decode(after.z)
    pipeline.codec.show(grid_sheet(sample, "one step"))
    return sample
