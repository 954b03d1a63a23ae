"""How probable a model finds data: estimates of its negative log-likelihood, in bits per dimension, with errors."""

from diffusion_lab.likelihood.base import Items, LikelihoodEstimator, LikelihoodResult
from diffusion_lab.likelihood.embedding_bound_nll import EmbeddingBoundNLL, EmbeddingBoundResult
from diffusion_lab.likelihood.masked_count_nll import MaskedCountNLL
from diffusion_lab.likelihood.ode_nll import OdeNLL, OdeResult
from diffusion_lab.likelihood.token_bound_nll import TokenBoundNLL
from diffusion_lab.likelihood.token_likelihood import TokenResult
from diffusion_lab.likelihood.variational_bound_nll import BoundResult, VariationalBoundNLL

__all__ = [
    "BoundResult",
    "EmbeddingBoundNLL",
    "EmbeddingBoundResult",
    "Items",
    "LikelihoodEstimator",
    "LikelihoodResult",
    "MaskedCountNLL",
    "OdeNLL",
    "OdeResult",
    "TokenBoundNLL",
    "TokenResult",
    "VariationalBoundNLL",
]
