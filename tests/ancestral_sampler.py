"""Samplers on the grid that most tests use."""

from diffusion_lab.sampling import Ancestral
from diffusion_lab.sampling.grids import Trailing


def ancestral(process, variance="beta_tilde", num_steps=None):
    """Ancestral sampling at trailing times."""
    return Ancestral(process, Trailing(process.schedule), variance, num_steps)
