"""Training objectives, and the times at which they are taken."""

from diffusion_lab.objectives.base import Objective, squared_error
from diffusion_lab.objectives.simple import Simple
from diffusion_lab.objectives.time_sampling import TimeSampler, UniformTimes

__all__ = ["Objective", "Simple", "TimeSampler", "UniformTimes", "squared_error"]
