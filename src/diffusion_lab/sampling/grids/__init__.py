"""Time grids: which times a sampler visits."""

from diffusion_lab.sampling.grids.base import TimeGrid
from diffusion_lab.sampling.grids.karras import Karras
from diffusion_lab.sampling.grids.leading import Leading
from diffusion_lab.sampling.grids.linspace import Linspace
from diffusion_lab.sampling.grids.quadratic import Quadratic
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.sampling.grids.uniform_log_snr import UniformLogSNR

__all__ = ["Karras", "Leading", "Linspace", "Quadratic", "TimeGrid", "Trailing", "UniformLogSNR"]
