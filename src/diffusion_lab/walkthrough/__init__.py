"""Checks of the exercises in docs/walkthrough: each says in one line what is right, or which mistake was made."""

from diffusion_lab.walkthrough.cosine_exercise import check_cosine_schedule
from diffusion_lab.walkthrough.reverse_step_exercise import check_reverse_step

__all__ = ["check_cosine_schedule", "check_reverse_step"]
