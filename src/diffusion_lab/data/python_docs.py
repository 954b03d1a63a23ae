"""The documentation topics that come with Python: real English without a download."""

from __future__ import annotations

from diffusion_lab.data.texts import TextDataModule


class PythonDocs(TextDataModule):
    """The topics of `pydoc_data`, about 0.7 million characters, in the order of their names; they differ with Python.

    Args:
        length, tokens, vocabulary, max_words, validation, test, crops, batch_size, limit_train, seed: see
            `TextDataModule`.
    """

    name = "python_docs"

    def prepare_data(self) -> None:
        """Nothing to fetch."""

    def read(self) -> str:
        from pydoc_data.topics import topics

        return "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
