"""The evaluation `text_quality`: sampled text of several seeds beside real text that was held out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.evaluation import Evaluation, Result, Samples, Splits, Subject
from diffusion_lab.figures import typicality_sheet
from diffusion_lab.metrics.causal_lm import CausalLM
from diffusion_lab.metrics.copied_text import longest_copies, share_copied
from diffusion_lab.metrics.ngram_model import NgramModel, check_order
from diffusion_lab.metrics.over_seeds import MOST_SEEDS, beside_real, over_seeds, seeds_in_words
from diffusion_lab.metrics.text_variety import share_distinct, token_entropy
from diffusion_lab.noise import derived_seed

#: Vocabularies of at most so many tokens are taken for characters or bytes, and larger ones for words or their parts.
_MOST_SIGNS = 256


@dataclass(frozen=True)
class TextQualityResult(Result):
    """Measures of sampled text, and the samples of the first seed in the order of how typical they are.

    Attributes:
        samples: the measures of each sampling seed by name.
        floor: the same of each choice of real text.
        models: the models that the measures depend on, by name.
        split: the real text.
        evaluations: how often the network was evaluated for each sample.
        first: the samples of the first seed.
        order: [N] int64 their numbers, from the one that the n-gram model finds most probable to the least.
        item: the word for one item.
    """

    samples: Sequence[Mapping[str, float]]
    floor: Sequence[Mapping[str, float]]
    models: Mapping[str, str]
    split: str
    evaluations: float
    first: Samples
    order: Tensor
    item: str

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the measures, and what they depend on.

        There is each one's mean over the seeds, its spread and its floor: see `over_seeds`. Entropies are in nats.
        """
        return {
            **over_seeds(self.samples, self.floor),
            **self.models,
            "num_samples": len(self.first.items),
            "length": self.first.items.shape[1],
            "num_seeds": len(self.samples),
            "evaluations": self.evaluations,
            "split": self.split,
        }

    def summary(self) -> str:
        """Return one line for people."""
        words = [
            f"{name.replace('_', ' ').replace('ngram', 'n-gram')} {beside_real(self.samples, self.floor, name)}"
            for name in self.samples[0]
            if name not in ("ngram_perplexity", "generative_nll_per_character", "entropy_of_set")
        ]
        return (
            f"{', '.join(words)}; {len(self.first.items):,} samples and as many real ones, "
            f"{seeds_in_words(len(self.samples))}, {self.split} split, {', '.join(self.models.values())}, "
            f"{self.evaluations:g} network evaluations"
        )

    def figures(self) -> Mapping[str, Any]:
        """Return the samples from the most to the least probable by the n-gram model."""
        return {"typicality": typicality_sheet(self.first.items, self.order, self.item, rows=4, columns=2)}


class TextQuality(Evaluation):
    """How probable language models find samples, how varied these are, and how much of them is copied.

    Low perplexity alone is no quality: text that repeats itself has it, too. So there is always the entropy of the
    tokens and the share of different n-grams beside it (Zheng et al. 2024), the share of n-grams that stand in the
    training text with the longest such run of tokens, and all of these of as many sequences of real text.

    Args:
        num_samples: for each sampling seed.
        seeds: how many sampling seeds, from 1 to 1,000.
        split: the real text to compare with, which is no part of what the n-gram model learns from: ``val``, to choose
            by; ``test``, for the number that is reported.
        order: of the n-gram model; None: 5 for up to 256 tokens, as characters and bytes have, 3 for more.
        distinct: the n-grams whose share of different ones is measured, by their numbers of tokens.
        overlap: the n-grams that are looked for in the training text.
        causal_lm: the folder of a causal language model, for generative perplexity; None for none. See `CausalLM`.

    Raises:
        ValueError: naming the key that is out of its range.
    """

    def __init__(
        self,
        num_samples: int = 100,
        seeds: int = 3,
        split: Literal["val", "test"] = "val",
        order: int | None = None,
        distinct: Sequence[int] = (1, 2, 4),
        overlap: Sequence[int] = (4, 8, 16),
        causal_lm: str | None = None,
    ) -> None:
        numbers = {"num_samples": [num_samples], "seeds": [seeds], "distinct": distinct, "overlap": overlap}
        for key, values in (numbers | {"order": [] if order is None else [order]}).items():
            if any(value < 1 for value in values):
                raise ValueError(f"evaluation.text_quality.{key} must be at least 1, got {min(values)}")
        if seeds > MOST_SEEDS:
            raise ValueError(f"evaluation.text_quality.seeds must be at most {MOST_SEEDS:,}, got {seeds}")
        self.num_samples = num_samples
        self.seeds = seeds
        self.split = split
        self.order = order
        self.distinct = distinct
        self.overlap = overlap
        self.causal_lm = None if causal_lm is None else CausalLM(causal_lm)

    def check_parts(self, pipeline: Any, data: Splits) -> None:
        """Raise ValueError if the run is on no text, its sequences are too short, or a language model is missing."""
        if data.vocabulary is None:
            raise ValueError(f"it is for runs on text, and this run has {type(data).__name__} as its data")
        check_order(self._order(data), data.vocabulary.size)
        if (longest := max([*self.distinct, *self.overlap, 1])) > data.shape[0]:
            raise ValueError(f"n-grams of {longest} tokens do not fit into sequences of data.length={data.shape[0]}")
        if self.causal_lm is not None:
            self.causal_lm.check()

    def check(self, data: Splits) -> None:
        """Load the language model: what it lacks is said before any sample is drawn.

        Raises:
            ValueError: if there is too little real text, too.
        """
        if (count := len(getattr(data, self.split))) < self.num_samples:
            raise ValueError(
                f"{self.num_samples:,} samples are measured beside as many real {data.item}s, and the {self.split} "
                f"split has {count:,}: take fewer num_samples"
            )
        if self.causal_lm is not None:
            self.causal_lm.load()

    def __call__(self, subject: Subject) -> TextQualityResult:
        data = subject.data
        assert data.vocabulary is not None  # `check_parts`
        draws = subject.draws(self.num_samples, self.seeds)
        items = [draw.items.numpy() for draw in draws]
        if not all(bool(((one >= 0) & (one < data.vocabulary.size)).all()) for one in items):
            raise LabError("evaluation=text_quality: some tokens of the samples are still masked; take another sampler")
        real = data.split(self.split)[0].numpy()
        floor = [real[_choice(len(real), self.num_samples, seed)] for seed in range(self.seeds)]
        text = data.stream("train").numpy()
        model = NgramModel(text, self._order(data), data.vocabulary.size)
        copies = np.split(longest_copies(np.concatenate([*items, *floor]), text), 2 * self.seeds)
        nll = [-model.log_probs(sequences) for sequences in (*items, *floor)]
        counts = [data.vocabulary.counts(sequences.tolist()) for sequences in (*items, *floor)]
        known = None not in counts  # measures of samples and of real text have the same names
        characters = [max(1, sum(of_set)) if known and of_set is not None else None for of_set in counts]
        parts = zip((*items, *floor), nll, copies, characters, strict=True)
        measures = [self._measures(subject, *found) for found in parts]
        models = {"ngram_model": f"{model.order}-gram@{data.fingerprint()['train'][:8]}"}
        if self.causal_lm is not None:
            models["generative_model"] = self.causal_lm.label
        order = torch.from_numpy(nll[0].sum(1)).argsort(stable=True)
        of_samples, of_real = measures[: self.seeds], measures[self.seeds :]
        facts = self.split, draws[0].evaluations, draws[0], order, data.item
        return TextQualityResult(of_samples, of_real, models, *facts)

    def _order(self, data: Splits) -> int:
        assert data.vocabulary is not None
        return self.order or (5 if data.vocabulary.size <= _MOST_SIGNS else 3)

    def _measures(
        self, subject: Subject, sequences: np.ndarray, nll: np.ndarray, copies: np.ndarray, characters: int | None
    ) -> dict[str, float]:
        """Return all measures of sequences [N, L].

        Given are the n-gram model's NLL of each token, `longest_copies`, and the number of characters of all of them;
        where that is not known (None), so is what there is of each character.
        """
        vocabulary = subject.data.vocabulary
        assert vocabulary is not None
        texts = [vocabulary.text(sequence.tolist()) for sequence in sequences]
        found = {"ngram_nll_per_token": float(nll.mean())}
        if characters is not None:
            found["ngram_nll_per_character"] = float(nll.sum()) / characters
        found["ngram_perplexity"] = math.exp(nll.mean())
        if self.causal_lm is not None:
            nats, tokens = self.causal_lm.nll(texts, subject.device)
            found["generative_perplexity"] = math.exp(nats / max(1, tokens))
            if characters is not None and self.causal_lm.counts_every_token:
                found["generative_nll_per_character"] = nats / characters
        found["entropy"] = float(np.mean([token_entropy(sequence) for sequence in sequences]))
        found["entropy_of_set"] = token_entropy(sequences)
        found |= {f"distinct_{n}": share_distinct(sequences, n) for n in self.distinct}
        found |= {f"overlap_{n}": share_copied(copies, n) for n in self.overlap}
        return found | {"longest_copy": float(copies.max())}


def _choice(count: int, chosen: int, seed: int) -> np.ndarray:
    """Return which of `count` real items are the floor of `chosen` samples, for each seed others."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "floor") >> 1)
    return torch.randperm(count, generator=generator)[:chosen].numpy()
