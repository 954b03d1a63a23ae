"""Meanings of the network's raw output: noise, data, velocity."""

from diffusion_lab.parameterizations.base import Parameterization, Regression
from diffusion_lab.parameterizations.denoiser import Denoiser, block_size, condition_kind
from diffusion_lab.parameterizations.edm_preconditioning import EDM
from diffusion_lab.parameterizations.eps import Eps
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.parameterizations.learned_variance import (
    LearnedVariance,
    LearnedVariancePrediction,
    log_variance_between,
)
from diffusion_lab.parameterizations.log_scores import LogScores, TokenScores
from diffusion_lab.parameterizations.logits import Logits
from diffusion_lab.parameterizations.substitution import Substitution, SubstitutionPrediction
from diffusion_lab.parameterizations.v import V
from diffusion_lab.parameterizations.velocity import Velocity
from diffusion_lab.parameterizations.x0 import X0

__all__ = [
    "EDM",
    "X0",
    "Denoiser",
    "Eps",
    "GaussianPrediction",
    "LearnedVariance",
    "LearnedVariancePrediction",
    "LogScores",
    "Logits",
    "Parameterization",
    "Regression",
    "Substitution",
    "SubstitutionPrediction",
    "TokenScores",
    "V",
    "Velocity",
    "block_size",
    "condition_kind",
    "log_variance_between",
]
