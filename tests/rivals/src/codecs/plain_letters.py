"""Letters, which are their own codes."""

from diffusion_lab.codecs import Codec


class PlainLetters(Codec):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    def encode(self, x):
        return x

    def decode(self, z):
        return z

    def log_likelihood(self, x, z0):
        return z0.log_probs.gather(-1, x[..., None]).flatten(1).sum(1)

    def show(self, sheet):
        return "\n".join([sheet.title, *("  ".join(map(self.text, row)) for row in sheet.rows)])

    def text(self, word):
        return "".join("abcdefgh?"[token] if token < self.vocab_size else "_" for token in word.tolist())
