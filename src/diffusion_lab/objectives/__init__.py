"""What training minimizes, and at which times."""

from diffusion_lab.objectives.simple import Simple
from diffusion_lab.objectives.times import GridTimes

__all__ = ["GridTimes", "Simple"]
