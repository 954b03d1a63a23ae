"""Pictures of tensors and numbers. Functions named …_sheet lay items out; the others draw with matplotlib."""

from diffusion_lab.figures.curves import curves_figure, loss_curve, signal_comparison
from diffusion_lab.figures.image_grid import draw_image_grid
from diffusion_lab.figures.save_figure import Shown, animation, save_figure, save_figures
from diffusion_lab.figures.sheet_layouts import (
    Sheet,
    denoising_sheet,
    forward_sheet,
    grid_sheet,
    inpainting_sheet,
    inversion_sheet,
    nearest_training_sheet,
    real_and_generated_sheet,
    strip_sheet,
    typicality_sheet,
)
from diffusion_lab.figures.token_demonstration import demonstration, masks_of_sentence, sentence_of
from diffusion_lab.figures.token_strip import Token, TokenStrip, strip_figure, strip_text
from diffusion_lab.figures.token_strip_page import Page, strip_page

__all__ = [
    "Page",
    "Sheet",
    "Shown",
    "Token",
    "TokenStrip",
    "animation",
    "curves_figure",
    "demonstration",
    "denoising_sheet",
    "draw_image_grid",
    "forward_sheet",
    "grid_sheet",
    "inpainting_sheet",
    "inversion_sheet",
    "loss_curve",
    "masks_of_sentence",
    "nearest_training_sheet",
    "real_and_generated_sheet",
    "save_figure",
    "save_figures",
    "sentence_of",
    "signal_comparison",
    "strip_figure",
    "strip_page",
    "strip_sheet",
    "strip_text",
    "typicality_sheet",
]
