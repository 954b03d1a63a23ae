"""Made-up words of four letters' worth of alphabet: a letter is followed by the next or the one after it."""

import torch

from diffusion_lab.data import DataModule, Split


class Letters(DataModule):
    item = "word"

    def __init__(
        self, batch_size: int = 32, length: int = 6, vocab_size: int = 4, limit_train: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(batch_size, limit_train, seed)
        self.length, self.vocab_size = length, vocab_size

    @property
    def shape(self):
        return (self.length,)

    def provides(self):
        return {"vocab_size": self.vocab_size, "length": self.length}

    def load(self):
        steps = torch.randint(1, 3, (140, self.length), generator=torch.Generator().manual_seed(0))
        words = Split((steps.cumsum(1) % self.vocab_size).to(torch.uint8))
        return tuple(words.take(torch.arange(*rows)) for rows in ((0, 100), (100, 120), (120, 140)))

    def to_batch(self, stored):
        return stored.long()
