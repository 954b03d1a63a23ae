"""How data is destroyed, and the exact posterior of each step back."""

from diffusion_lab.processes.base import Noised, Process, per_sample
from diffusion_lab.processes.gaussian import Gaussian, GaussianNoised
from diffusion_lab.processes.prediction import Prediction

__all__ = ["Gaussian", "GaussianNoised", "Noised", "Prediction", "Process", "per_sample"]
