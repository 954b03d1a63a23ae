"""text8: the first 100 million characters of a cleaned Wikipedia (Mahoney 2011)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from diffusion_lab.data.downloaded_text import DownloadedText
from diffusion_lab.data.text_pieces import pieces_of
from diffusion_lab.errors import LabError


class Text8(DownloadedText):
    """100 million lower-case letters and spaces; arguments as in `DownloadedText`."""

    name = "text8"
    place = "text8/text8.zip"
    md5 = "3bea1919949baf155f99411df5fada7e"
    address = "http://mattmahoney.net/dc/text8.zip"
    characters = " abcdefghijklmnopqrstuvwxyz"

    def pieces_in(self, path: Path) -> Iterator[str]:
        """Yield the text of the archive.

        Raises:
            LabError: naming the archive, if it holds no such text.
        """
        try:
            with zipfile.ZipFile(path) as archive, archive.open("text8") as content:
                yield from pieces_of(io.TextIOWrapper(content, encoding="ascii", newline=""))
        except (KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise LabError(f"{path} holds no text8: {error}") from error
