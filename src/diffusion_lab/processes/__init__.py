"""How data is destroyed, and the exact posterior of each step back."""

from diffusion_lab.processes.base import Noised, Process, per_sample
from diffusion_lab.processes.distributions import Categorical, Distribution, Normal
from diffusion_lab.processes.gaussian import Gaussian, GaussianNoised

__all__ = [
    "Categorical",
    "Distribution",
    "Gaussian",
    "GaussianNoised",
    "Noised",
    "Normal",
    "Process",
    "per_sample",
]
