"""The quality of samples over several sampling seeds, beside that of real items, for a file and for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_lab.metrics.over_seeds import beside_real, over_seeds, seeds_in_words
from diffusion_lab.metrics.quality import Measures


@dataclass(frozen=True)
class QualityResult:
    """The measures of samples from several seeds, beside those of as many real items.

    Attributes:
        samples: of each sampling seed; at least one.
        floor: of each choice of real items; at least one.
        extractor: the feature network, with the first digits of its hash.
        extractor_hash: of its weights, whole; numbers of different ones cannot be compared.
    """

    samples: Sequence[Measures]
    floor: Sequence[Measures]
    extractor: str
    extractor_hash: str

    def __post_init__(self) -> None:
        if not self.samples or not self.floor:
            raise ValueError("quality needs the measures of one set of samples and of one set of real items at least")
        if len({(one.num_samples, one.num_real, *one.values()) for one in (*self.samples, *self.floor)}) > 1:
            raise ValueError("samples and floor must have the same numbers of items, and the same measures")

    def as_dict(self) -> dict[str, float | str]:
        """For a metrics file: each measure's mean over the seeds, its spread (standard deviation) and its floor.

        They are called ``fid``, ``fid_spread``, ``fid_floor`` and ``fid_floor_spread``; there is no spread for one
        seed. ``kid_error`` and ``inception_score_error`` are those of one set of samples, averaged over the sets.
        """
        found: dict[str, float | str] = dict(over_seeds(_values(self.samples), _values(self.floor)))
        found["kid_error"] = statistics.fmean(one.kid.error for one in self.samples)
        spreads = [one.inception_score.spread for one in self.samples if one.inception_score is not None]
        if spreads:
            found["inception_score_error"] = statistics.fmean(spreads)
        return found | {
            "extractor": self.extractor,
            "extractor_hash": self.extractor_hash,
            "num_samples": self.samples[0].num_samples,
            "num_real": self.samples[0].num_real,
            "num_seeds": len(self.samples),
        }

    def summary(self) -> str:
        """One line for people, without the balance of classes."""
        samples, floor = _values(self.samples), _values(self.floor)
        words = [
            f"{_TITLES.get(name, name.replace('_', ' '))} {beside_real(samples, floor, name)}"
            for name in samples[0]
            if not name.startswith("class_") and name != "missing_classes"
        ]
        first = self.samples[0]
        return (
            f"{', '.join(words)}; {first.num_samples:,} samples against {first.num_real:,} real ones, "
            f"{seeds_in_words(len(self.samples))}, features of {self.extractor}"
        )


_TITLES = {"fid": "FID", "kid": "KID", "inception_score": "Inception score"}


def _values(sets: Sequence[Measures]) -> list[dict[str, float]]:
    return [one.values() for one in sets]
