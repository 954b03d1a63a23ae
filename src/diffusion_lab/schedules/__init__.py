"""How much signal and how much noise there is at each time. Ground floor: imports torch only."""

from diffusion_lab.schedules.base import DiscreteSchedule, Schedule, of_steps
from diffusion_lab.schedules.cosine import CosineSchedule
from diffusion_lab.schedules.linear import LinearSchedule

__all__ = ["CosineSchedule", "DiscreteSchedule", "LinearSchedule", "Schedule", "of_steps"]
