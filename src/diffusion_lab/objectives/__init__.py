"""Training objectives, the times at which they are taken, and the weights of those."""

from diffusion_lab.objectives.base import Objective, squared_error
from diffusion_lab.objectives.constant_weight import ConstantWeight
from diffusion_lab.objectives.edm_weight import EDMWeight
from diffusion_lab.objectives.embedding_terms import EmbeddingTerms
from diffusion_lab.objectives.hybrid import Hybrid
from diffusion_lab.objectives.importance_times import ImportanceTimes
from diffusion_lab.objectives.log_normal_times import LogNormalTimes
from diffusion_lab.objectives.logit_normal_times import LogitNormalTimes
from diffusion_lab.objectives.min_snr import MinSNR
from diffusion_lab.objectives.p2 import P2
from diffusion_lab.objectives.sigmoid_weight import SigmoidWeight
from diffusion_lab.objectives.simple import Simple
from diffusion_lab.objectives.time_sampler import TimeSampler
from diffusion_lab.objectives.token_bound import TokenBound
from diffusion_lab.objectives.uniform_times import UniformTimes
from diffusion_lab.objectives.variational_bound import VariationalBound, bound_term
from diffusion_lab.objectives.weight import Weight

__all__ = [
    "P2",
    "ConstantWeight",
    "EDMWeight",
    "EmbeddingTerms",
    "Hybrid",
    "ImportanceTimes",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MinSNR",
    "Objective",
    "SigmoidWeight",
    "Simple",
    "TimeSampler",
    "TokenBound",
    "UniformTimes",
    "VariationalBound",
    "Weight",
    "bound_term",
    "squared_error",
]
