"""Meanings of the network's raw output: noise, data, velocity."""

from diffusion_lab.parameterizations.base import Parameterization, Regression
from diffusion_lab.parameterizations.denoiser import Denoiser, condition_kind
from diffusion_lab.parameterizations.eps import Eps
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction

__all__ = ["Denoiser", "Eps", "GaussianPrediction", "Parameterization", "Regression", "condition_kind"]
