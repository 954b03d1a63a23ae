"""The negative log-likelihood of sequences of tokens, in the units of text."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab.codecs import Codec
from diffusion_lab.likelihood.base import Items, LikelihoodEstimator, LikelihoodResult, standard_error
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser
from diffusion_lab.processes import DiscreteProcess
from diffusion_lab.sampling import Pipeline


@dataclass(frozen=True)
class TokenResult(LikelihoodResult):
    """A bound on the negative log-likelihood of sequences.

    Attributes:
        characters: [N] int64, the number of characters of each sequence; None for data that is no text.
        estimator: the name of the estimator, in words.
    """

    characters: Tensor | None
    estimator: str

    @property
    def nats_per_character(self) -> tuple[float, float] | None:
        """The mean over all characters and its standard error; None for data that is no text."""
        if self.characters is None:
            return None
        nats = self.bits * self.dimensions * math.log(2)
        mean = float(nats.sum() / self.characters.sum())
        # The error of a ratio of sums, by its linear part.
        spread = standard_error(nats - mean * self.characters) / float(self.characters.double().mean())
        return mean, spread

    @property
    def perplexity(self) -> float:
        """The exponential of the nats per token; infinite above 709 of them, as a network that learned nothing has."""
        try:
            return math.exp(self.mean * math.log(2))
        except OverflowError:
            return math.inf

    def as_dict(self) -> dict[str, float | str | None]:
        nats, error = self.mean * math.log(2), self.standard_error * math.log(2)
        numbers: dict[str, float | str | None] = {
            "nats_per_token": nats,
            "nats_per_token_error": error,
            "bits_per_token": self.mean,
            "bits_per_token_error": self.standard_error,
            "perplexity": self.perplexity if math.isfinite(self.perplexity) else None,  # JSON has no infinity
        }
        if self.nats_per_character is not None:
            mean, spread = self.nats_per_character
            numbers |= {"nats_per_character": mean, "nats_per_character_error": spread}
            numbers |= {"bits_per_character": mean / math.log(2), "bits_per_character_error": spread / math.log(2)}
        return numbers | {
            "num_items": len(self.bits),
            "tokens": self.dimensions,
            "evaluations": self.evaluations,
        }

    def summary(self) -> str:
        nats, error = self.mean * math.log(2), self.standard_error * math.log(2)
        text = f"at most {nats:.4f} ± {error:.4f} nats per token, perplexity {self.perplexity:.4g}"
        if self.nats_per_character is None:
            text += f", {self.mean:.4f} ± {self.standard_error:.4f} bits per token"
        else:
            mean, spread = self.nats_per_character
            text += f", {mean / math.log(2):.4f} ± {spread / math.log(2):.4f} bits per character"
        return (
            f"NLL {text}, {self.estimator}, over {len(self.bits):,} sequences of {self.dimensions} tokens; "
            f"{self.evaluations:,.0f} evaluations for each"
        )


class TokenLikelihood(LikelihoodEstimator):
    """Averages a term over several states of each sequence, each destroyed afresh.

    Args:
        num_times: states of each sequence, at one time at random of each of so many equal strata.
        num_items, split, batch_size, seed: as for every `LikelihoodEstimator`.

    Attributes:
        estimator: its name, in words.

    Raises:
        ValueError: if an argument lies outside its range.
    """

    process_kind: ClassVar[type[Any]] = DiscreteProcess
    estimator: ClassVar[str]

    def __init__(
        self,
        num_times: int = 64,
        num_items: int | None = None,
        split: Literal["train", "val", "test"] = "val",
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(num_items, split, batch_size, seed)
        if num_times < 1:
            raise ValueError(f"num_times must be at least 1, got {num_times}")
        self.num_times = num_times

    def check_process(self, process: Any, codec: Codec) -> None:
        """Do nothing: what does not go together is refused by the kind of process."""

    @abstractmethod
    def terms(
        self, process: Any, denoiser: Denoiser, z0: Tensor, condition: Tensor | None, noise: Noise
    ) -> Iterator[Tensor]:
        """Yield `num_times` terms [B] float64 in nats per token.

        Their mean and `ends` are an estimate of the bound without bias.
        """

    def ends(
        self, process: Any, denoiser: Denoiser, z0: Tensor, condition: Tensor | None, noise: Noise
    ) -> Tensor | float:
        """Return what the first and the last state of a draw cost, [B] float64 in nats per token, or one number.

        That is 0, as here, for a draw that starts from one and the same state and ends at clean data.
        """
        return 0.0

    def estimate(
        self, pipeline: Pipeline, process: Any, items: Items, device: torch.device, bar: tqdm
    ) -> LikelihoodResult:
        denoiser = pipeline.plain_denoiser
        before, found = denoiser.evaluations, []
        bar.reset(total=len(items) * self.num_times)
        for first in range(0, len(items), self.batch_size):
            batch = items.take(slice(first, first + self.batch_size))
            noise = self.noise(batch.rows.to(device))
            condition = None if batch.condition is None else batch.condition.to(device)
            with torch.inference_mode():
                z0 = pipeline.codec.encode(batch.x.to(device))
                nats = torch.zeros(len(z0), dtype=torch.float64, device=device)
                for term in self.terms(process, denoiser, z0, condition, noise):
                    nats += term / self.num_times
                    bar.update(len(z0))
                nats += self.ends(process, denoiser, z0, condition, noise.at("ends"))
            found.append(nats.cpu() / math.log(2))
        bits = torch.cat(found)
        evaluations = (denoiser.evaluations - before) / len(items)
        characters = pipeline.codec.characters(items.x)
        return TokenResult(bits, items.rows, items.x[0].numel(), evaluations, characters, self.estimator)
