"""How probable a causal language model finds texts: any that the library transformers can load from a folder."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

#: How many pieces of text the model reads at a time.
_BATCH = 8


class CausalLM:
    """A causal language model with its tokenizer, in a folder that ``save_pretrained`` wrote.

    Needs the extra ``causal-lm`` (transformers). Nothing is downloaded, no code in the folder is run, and weights are
    read from safetensors alone.

    Args:
        path: the folder.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()

    def check(self) -> None:
        """Check that the model can be looked for, without loading it.

        Raises:
            ValueError: in one line, if the folder or the library is missing.
        """
        if not (self.path / "config.json").is_file() or not self._weights:
            raise ValueError(
                f"causal_lm={self.path}: it must be the folder of a language model, with config.json, a tokenizer and "
                "weights in .safetensors"
            )
        if importlib.util.find_spec("transformers") is None:
            raise ValueError(f"causal_lm={self.path} needs transformers: pip install 'diffusion-lab[causal-lm]'")

    def load(self) -> None:
        """Load the model, once.

        Raises:
            ValueError: in one line, if it cannot be loaded.
        """
        self.check()
        try:
            self._loaded  # noqa: B018
        except Exception as error:  # the library may raise anything
            text = " ".join(str(error).split())[:300]
            raise ValueError(f"causal_lm={self.path} cannot be loaded ({type(error).__name__}: {text})") from error

    @cached_property
    def label(self) -> str:
        """The name of the folder, with the first digits of the hash of its weights."""
        digest = hashlib.sha256()
        for file in self._weights:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return f"{self.path.resolve().name}@{digest.hexdigest()[:8]}"

    def nll(self, texts: Sequence[str], device: torch.device) -> tuple[float, int]:
        """Return the negative log-likelihood of texts in nats, summed, and the number of the model's tokens.

        A text stands after the token that begins texts, or the one that ends them, as GPT-2's does both; if the model
        has neither, the first token is given, and not counted. A text that is longer than the model's context is read
        in pieces that know nothing of each other.

        Args:
            texts: any.
            device: where to compute.
        """
        tokenizer, model = self._loaded
        model.to(device)
        nats, count = 0.0, 0
        pieces = [piece for text in texts for piece in self._pieces(tokenizer, text, model)]
        pieces.sort(key=len)  # so that a batch has little padding
        for first in range(0, len(pieces), _BATCH):
            batch = pieces[first : first + _BATCH]
            found = _token_nll(model, batch, device)
            nats += float(found.sum())
            count += sum(len(piece) - 1 for piece in batch)
        return nats, count

    @property
    def counts_every_token(self) -> bool:
        """Whether `nll` counts the first token of a text, too."""
        return _first_id(self._loaded[0]) is not None

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        local = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(str(self.path), **local)
        model = AutoModelForCausalLM.from_pretrained(str(self.path), use_safetensors=True, **local)
        return tokenizer, model.eval()

    @property
    def _weights(self) -> list[Path]:
        return sorted(self.path.glob("*.safetensors"))

    @staticmethod
    def _pieces(tokenizer: Any, text: str, model: Any) -> Iterator[list[int]]:
        """Yield ids of the pieces of a text; the first id of each is given, and what is predicted comes after it."""
        ids, first_id = tokenizer(text, add_special_tokens=False)["input_ids"], _first_id(tokenizer)
        begin = [] if first_id is None else [first_id]
        size = max(1, (getattr(model.config, "max_position_embeddings", None) or len(ids) + 1) - len(begin))
        for first in range(0, len(ids), size):
            piece = [*begin, *ids[first : first + size]]
            if len(piece) > 1:
                yield piece


def _first_id(tokenizer: Any) -> int | None:
    """Return the id that stands before a text; None if the model has none."""
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def _token_nll(model: Any, pieces: Sequence[list[int]], device: torch.device) -> Tensor:
    """Return the negative log-likelihood [B, L − 1] of each token but the first of pieces; 0 beyond their ends."""
    length = max(map(len, pieces))
    ids = torch.zeros(len(pieces), length, dtype=torch.int64)
    there = torch.zeros(len(pieces), length, dtype=torch.int64)
    for row, piece in enumerate(pieces):
        ids[row, : len(piece)] = torch.tensor(piece)
        there[row, : len(piece)] = 1
    ids, there = ids.to(device), there.to(device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=there).logits[:, :-1].float()
    nll = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return torch.where(there[:, 1:] == 1, nll.view(len(pieces), -1), 0).double()
