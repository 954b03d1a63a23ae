"""What the network's raw output means."""

from diffusion_lab.parameterizations.base import Parameterization, Prediction
from diffusion_lab.parameterizations.denoiser import Denoiser
from diffusion_lab.parameterizations.eps import Eps

__all__ = ["Denoiser", "Eps", "Parameterization", "Prediction"]
