"""What people look at. Every function takes plain tensors or numbers and returns a matplotlib figure."""

from diffusion_lab.figures.curves import loss_curve, schedule_comparison, schedule_curves
from diffusion_lab.figures.image_sheets import denoising_strip, forward_strip, image_grid, real_and_generated, strip
from diffusion_lab.figures.save_figure import animation, save_figure

__all__ = [
    "animation",
    "denoising_strip",
    "forward_strip",
    "image_grid",
    "loss_curve",
    "real_and_generated",
    "save_figure",
    "schedule_comparison",
    "schedule_curves",
    "strip",
]
