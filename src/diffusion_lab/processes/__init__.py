"""How data is destroyed, and the exact posterior of each step back."""

from diffusion_lab.processes.gaussian import Gaussian, Noised, Normal

__all__ = ["Gaussian", "Noised", "Normal"]
