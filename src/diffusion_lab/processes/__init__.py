"""How data is destroyed, and the exact posterior of each step back."""

from diffusion_lab.processes.absorbing import Absorbing, Unmasking
from diffusion_lab.processes.base import Noised, Process, per_sample
from diffusion_lab.processes.block_times import block_times, position_times
from diffusion_lab.processes.discrete_process import DiscreteProcess, TokenLogProbs, TokenPrediction
from diffusion_lab.processes.gaussian import Gaussian, GaussianNoised
from diffusion_lab.processes.prediction import Prediction
from diffusion_lab.processes.uniform_tokens import Uniform

__all__ = [
    "Absorbing",
    "DiscreteProcess",
    "Gaussian",
    "GaussianNoised",
    "Noised",
    "Prediction",
    "Process",
    "TokenLogProbs",
    "TokenPrediction",
    "Uniform",
    "Unmasking",
    "block_times",
    "per_sample",
    "position_times",
]
