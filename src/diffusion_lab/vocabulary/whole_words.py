"""A text in pieces that have the tokens of the whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LAST_BREAK = re.compile(r".*\S([ \n])", re.DOTALL)

#: The most characters in which a place to cut a text is looked for.
_LONGEST_STRETCH = 2**20


def whole_words(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the same text, cut at other places, so that the tokens of its pieces are those of the whole text.

    It is cut before a space or line break that follows a sign, since a token of words or byte pairs begins there
    whatever comes before and after; and where there is none for a million characters.
    """
    held = ""
    for piece in pieces:
        text = held + piece
        found = _LAST_BREAK.match(text)
        cut = found.start(1) if found else 0
        if len(text) - cut > _LONGEST_STRETCH:
            cut = len(text)
        if cut:
            yield text[:cut]
        held = text[cut:]
    if held:
        yield held
