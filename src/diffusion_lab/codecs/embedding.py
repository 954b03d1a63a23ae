"""Tokens as learned vectors, in which Gaussian noise means something (Li et al. 2022, Diffusion-LM, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_lab.codecs.tokens import Tokens
from diffusion_lab.distributions import Distribution, Normal
from diffusion_lab.vocabulary import Vocabulary


class TokenEmbedding(Tokens):
    """Sequences [B, L] int64 of token ids as the vectors of their tokens, [B, L, d] float.

    The vectors are trained with the network. Codes are spread around them, x0 ~ N(E(w), noise²), so that vectors of
    different tokens must keep apart (section 4.1).

    Args:
        vocab_size, vocabulary: see `Tokens`.
        dim: d, the size of a vector.
        noise: the standard deviation of codes around the vector of their token.

    Attributes:
        vectors: [V, d] the embedding E, drawn from N(0, 1) at first; also the weight of the head that reads tokens.
        bias: [V] that of the head.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, vocab_size: int, vocabulary: Vocabulary, dim: int = 32, noise: float = 0.1) -> None:
        super().__init__(vocab_size, vocabulary)
        if dim < 1:
            raise ValueError(f"codec.dim must be 1 or more, got {dim}")
        if not 0 < noise < math.inf:
            raise ValueError(f"codec.noise must be positive and finite, got {noise}")
        self.noise = noise
        self.vectors = nn.Parameter(torch.randn(vocab_size, dim))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def provides(self) -> dict[str, Any]:
        return super().provides() | {"code_dim": self.vectors.shape[1]}

    @property
    def spread(self) -> float:
        return self.noise

    def code_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape, self.vectors.shape[1])

    def encode(self, x: Tensor) -> Tensor:
        """Return the vectors [B, L, d] of tokens [B, L], the means of their codes."""
        return nn.functional.embedding(x, self.vectors)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the tokens [B, L] int64 with the nearest vectors: rounding. A token's own vector is read as itself."""
        vectors = self.vectors.double()  # fewer digits could not tell near vectors apart
        # argmin ‖z − e‖² = argmax z·e − ‖e‖²/2
        return (z.double() @ vectors.T - vectors.square().sum(1) / 2).argmax(-1)

    def log_likelihood(self, x: Tensor, z0: Distribution) -> Tensor:
        """Return log p(x | z0) [B] of tokens x [B, L], the head read at the mean [B, L, d] of a `Normal`.

        The head, softmax(E z0 + bias), learns from codes with their noise; the standard deviation of z0 is not used.
        """
        assert isinstance(z0, Normal)
        with torch.autocast(x.device.type, enabled=False):  # half precision has too few digits for near vectors
            logits = nn.functional.linear(z0.mean.float(), self.vectors.float(), self.bias.float())  # [B, L, V]
        return logits.log_softmax(-1).gather(-1, x[..., None]).flatten(1).sum(1)
