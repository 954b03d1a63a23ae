"""Signal and noise over time, and rates of destruction. Ground floor: imports torch only."""

from diffusion_lab.schedules.base import Curve, GaussianSchedule, RateSchedule, Schedule
from diffusion_lab.schedules.cosine import CosineSchedule
from diffusion_lab.schedules.discrete import DiscreteSchedule
from diffusion_lab.schedules.edm_noise_levels import EDMSchedule
from diffusion_lab.schedules.flow import FlowSchedule
from diffusion_lab.schedules.linear import LinearSchedule
from diffusion_lab.schedules.sigmoid import SigmoidSchedule

__all__ = [
    "CosineSchedule",
    "Curve",
    "DiscreteSchedule",
    "EDMSchedule",
    "FlowSchedule",
    "GaussianSchedule",
    "LinearSchedule",
    "RateSchedule",
    "Schedule",
    "SigmoidSchedule",
]
