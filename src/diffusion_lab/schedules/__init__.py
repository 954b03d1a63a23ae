"""Signal and noise over time, and rates of destruction. Ground floor: imports torch only."""

from diffusion_lab.schedules.base import Curve, GaussianSchedule, RateSchedule, Schedule
from diffusion_lab.schedules.cosine import CosineSchedule
from diffusion_lab.schedules.discrete import DiscreteSchedule
from diffusion_lab.schedules.linear import LinearSchedule

__all__ = [
    "CosineSchedule",
    "Curve",
    "DiscreteSchedule",
    "GaussianSchedule",
    "LinearSchedule",
    "RateSchedule",
    "Schedule",
]
