"""Time grids, samplers, transforms of the denoiser, and the one loop that draws."""

from diffusion_lab.sampling.ancestral import Ancestral
from diffusion_lab.sampling.base import DenoiserFn, DenoiserTransform, Sampler, State
from diffusion_lab.sampling.clip_x0 import ClipX0
from diffusion_lab.sampling.dynamic_threshold import DynamicThreshold
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.sampling.loop import Step, draw
from diffusion_lab.sampling.pipeline import Draw, Pipeline
from diffusion_lab.sampling.trajectory import Trajectory

__all__ = [
    "Ancestral",
    "ClipX0",
    "DenoiserFn",
    "DenoiserTransform",
    "Draw",
    "DynamicThreshold",
    "Pipeline",
    "Sampler",
    "State",
    "Step",
    "TimeGrid",
    "Trajectory",
    "draw",
]
