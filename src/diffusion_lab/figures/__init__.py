"""What people look at. Every function takes plain tensors or numbers and returns a matplotlib figure."""

from diffusion_lab.figures.curves import loss_curve, schedule_comparison, schedule_curves
from diffusion_lab.figures.images import denoising_strip, forward_strip, image_grid, real_and_generated, strip
from diffusion_lab.figures.record import animation, record

__all__ = [
    "animation",
    "denoising_strip",
    "forward_strip",
    "image_grid",
    "loss_curve",
    "real_and_generated",
    "record",
    "schedule_comparison",
    "schedule_curves",
    "strip",
]
