"""The network and the schedule as a pipeline of the library diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from diffusion_lab.errors import LabError
from diffusion_lab.exchange import diffusers_dit, diffusers_unet
from diffusion_lab.exchange.diffusers_scheduler import scheduler_config, scheduler_differences
from diffusion_lab.networks.dit import DiT
from diffusion_lab.networks.unet import UNet
from diffusion_lab.runs.load import Run
from diffusion_lab.runs.model_card import TOLERANCE, Loading

_PIPELINE = """\
from diffusers import {pipeline}

pipeline = {pipeline}.from_pretrained(".")
images = pipeline(batch_size=4, {arguments}).images"""

_LOOP = """\
import torch
from diffusers import {model}, {scheduler}

model = {model}.from_pretrained(".", subfolder="{folder}").eval()
scheduler = {scheduler}.from_pretrained(".", subfolder="scheduler")
scheduler.set_timesteps({steps})
images = scheduler.init_noise_sigma * torch.randn({shape})
labels = torch.arange(4) % {classes}
for t in scheduler.timesteps:
    with torch.no_grad():
        raw = model(images, {time}, class_labels=labels).sample
    images = scheduler.step(raw, t, images{arguments}).prev_sample"""


def write_diffusers(run: Run, place: Path, name: str) -> Loading:
    """Write a run's model as a pipeline of diffusers into an empty folder.

    Raises:
        LabError: naming what has no counterpart there, or if diffusers is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise LabError("format=diffusers needs the library: pip install 'diffusion-lab[export]'") from error
    config, network, shape = run.settings.as_node(), run.parts.network, run.parts.pipeline.shape
    if isinstance(network, UNet):
        node = diffusers_unet.unet_config(network, config["network"], shape)
        weights = diffusers_unet.unet_to_diffusers(network)
    elif isinstance(network, DiT):
        node = diffusers_dit.dit_config(network, config["network"], shape)
        weights = diffusers_dit.dit_to_diffusers(network)
    else:
        raise LabError(
            f"format=diffusers: it has no counterpart of network={type(network).__name__}; it has one of unet and dit"
        )
    of_scheduler = scheduler_config(config, run.parts.process.schedule)
    scheduler = getattr(diffusers, of_scheduler.pop("_class_name"))(**of_scheduler)
    kind = node.pop("_class_name")
    model = getattr(diffusers, kind)(**node).eval()
    model.load_state_dict(weights)
    is_ddim = type(scheduler).__name__ == "DDIMScheduler"
    steps = len(run.parts.pipeline.sampler.steps)
    arguments = f", eta={config['sampler']['eta']}" if is_ddim else ""
    if is_ddim and scheduler.config.clip_sample:
        arguments += ", use_clipped_model_output=True"
    notes = scheduler_differences(config)
    if not is_ddim:
        notes.append("Each step draws noise of its own there: samples are not those of a seed here.")
    if (run.parts.process.schedule.steps or steps) % steps:
        notes.append(f"{steps} steps do not divide those of the schedule: diffusers rounds the length of a step down.")
    folder = "unet" if kind == diffusers_unet.CLASS else "transformer"
    try:
        if kind == diffusers_unet.CLASS and network.condition is None:
            pipeline: Any = diffusers.DDIMPipeline if is_ddim else diffusers.DDPMPipeline
            pipeline(unet=model, scheduler=scheduler).save_pretrained(place)
            code = _PIPELINE.format(pipeline=pipeline.__name__, arguments=f"num_inference_steps={steps}{arguments}")
        else:
            model.save_pretrained(place / folder)
            scheduler.save_pretrained(place / "scheduler")
            code = _LOOP.format(
                model=kind,
                scheduler=type(scheduler).__name__,
                steps=steps,
                folder=folder,
                shape=f"4, {', '.join(map(str, shape))}",
                classes=run.parts.data.num_classes if network.condition is not None else 1,
                time="t" if folder == "unet" else "t.expand(4)",
                arguments=arguments,
            )
            notes.append(_about_labels(run))
    except SafetensorError as error:
        raise LabError(f"cannot write {place / folder}: {error}") from error
    difference = _difference(run, type(model).from_pretrained(place / folder).eval())
    if not difference <= TOLERANCE:
        raise LabError(f"format=diffusers: its output differs by {difference:.1e} from the network's: not written")
    return Loading("diffusers", "diffusers torch", code, tuple(notes), difference=difference)


def _about_labels(run: Run) -> str:
    if run.parts.network.condition is None:
        return "The network takes no labels: there it takes the label 0, which adds nothing."
    classes = run.parts.data.num_classes or 0
    return (
        f"Labels are 0 to {classes - 1}; {classes} is the null label, for "
        "guidance. No pipeline of diffusers draws by class without an autoencoder, hence the loop."
    )


def _difference(run: Run, model: Any) -> float:
    """Return the largest difference of the outputs of both networks, as a share of the largest output."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, *run.parts.pipeline.shape, generator=generator)
    t = torch.tensor([0, 10, 200, 500]) % (run.parts.process.schedule.steps or 1)
    labels = run.parts.pipeline.condition(4, None)
    with torch.no_grad():
        ours = run.parts.network(x, t.float(), labels)
        there = labels if labels is not None or type(model).__name__ == diffusers_unet.CLASS else torch.zeros_like(t)
        theirs = model(x, t, class_labels=there).sample
    return float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-12))
