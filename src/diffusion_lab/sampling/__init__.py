"""Time grids, samplers, transforms of the prediction, and the one loop that draws."""

from diffusion_lab.sampling.ancestral import Ancestral
from diffusion_lab.sampling.base import Sampler, State
from diffusion_lab.sampling.clip import ClippedDenoiser
from diffusion_lab.sampling.loop import Step, draw
from diffusion_lab.sampling.pipeline import Pipeline
from diffusion_lab.sampling.trajectory import Trajectory

__all__ = ["Ancestral", "ClippedDenoiser", "Pipeline", "Sampler", "State", "Step", "Trajectory", "draw"]
