"""The documentation topics that come with Python: real English without a download."""

from __future__ import annotations

from collections.abc import Iterator

from diffusion_lab.data.texts import TextDataModule


class PythonDocs(TextDataModule):
    """The topics of `pydoc_data`, about half a million characters, by their names; they differ with Python.

    Args:
        length, tokens, vocabulary, vocab_size, validation, test, crops: see `TextDataModule`.
        batch_size, limit_train, seed, in_memory, data_dir: see `TextDataModule`.
    """

    name = "python_docs"

    def prepare_data(self) -> None:
        """Nothing to fetch."""

    def pieces(self) -> Iterator[str]:
        from pydoc_data.topics import topics

        yield "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
