"""Signal and noise over time, and rates of destruction. Ground floor: imports torch only."""

from diffusion_lab.schedules.base import Curve, GaussianSchedule, RateSchedule, Schedule
from diffusion_lab.schedules.closed_form import ClosedForm
from diffusion_lab.schedules.cosine import CosineSchedule
from diffusion_lab.schedules.discrete import BetaTable, DiscreteSchedule
from diffusion_lab.schedules.edm_noise_levels import EDMSchedule
from diffusion_lab.schedules.flow import FlowSchedule
from diffusion_lab.schedules.geometric import GeometricSchedule
from diffusion_lab.schedules.given_betas import GivenBetas
from diffusion_lab.schedules.linear import LinearSchedule
from diffusion_lab.schedules.log_linear import LogLinearSchedule
from diffusion_lab.schedules.noisy_data import NoisyData
from diffusion_lab.schedules.polynomial import PolynomialSchedule
from diffusion_lab.schedules.sigmoid import SigmoidSchedule
from diffusion_lab.schedules.sqrt import SqrtSchedule
from diffusion_lab.schedules.survival_cosine import SurvivalCosineSchedule
from diffusion_lab.schedules.survival_squared_cosine import SurvivalSquaredCosineSchedule
from diffusion_lab.schedules.variance_preserving import SignalDecay, VariancePreserving

__all__ = [
    "BetaTable",
    "ClosedForm",
    "CosineSchedule",
    "Curve",
    "DiscreteSchedule",
    "EDMSchedule",
    "FlowSchedule",
    "GaussianSchedule",
    "GeometricSchedule",
    "GivenBetas",
    "LinearSchedule",
    "LogLinearSchedule",
    "NoisyData",
    "PolynomialSchedule",
    "RateSchedule",
    "Schedule",
    "SigmoidSchedule",
    "SignalDecay",
    "SqrtSchedule",
    "SurvivalCosineSchedule",
    "SurvivalSquaredCosineSchedule",
    "VariancePreserving",
]
