"""Checks of the exercises in docs/walkthrough: each says in one line what is right, or which mistake was made."""

from diffusion_lab.walkthrough.cause_exercise import check_cause
from diffusion_lab.walkthrough.cosine_exercise import check_cosine_schedule
from diffusion_lab.walkthrough.masking_exercise import check_mask_tokens
from diffusion_lab.walkthrough.reverse_step_exercise import check_reverse_step
from diffusion_lab.walkthrough.seeds_exercise import check_seeds
from diffusion_lab.walkthrough.unmasking_exercise import check_reverse_probs

__all__ = [
    "check_cause",
    "check_cosine_schedule",
    "check_mask_tokens",
    "check_reverse_probs",
    "check_reverse_step",
    "check_seeds",
]
