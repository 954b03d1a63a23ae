"""The strip of snapshots as one HTML page that needs no network and no other file.

Tokens can hold any text. Jinja2 escapes it, characters that cannot be seen are replaced before, and the page's
Content-Security-Policy allows only the shipped script to run and nothing to be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2

from diffusion_lab.figures.cell_lines import QUIET, visible
from diffusion_lab.figures.token_strip import MASK_SIGN, MASKED, Token, TokenStrip, quiet, shade


@dataclass(frozen=True)
class Page:
    """An HTML page, whole in itself."""

    html: str


def strip_page(strip: TokenStrip) -> Page:
    """Return the page of a strip: all snapshots below one another, or one at a time by keys and a slider."""
    title, *caption = strip.title.splitlines()
    script = _resource("token_strip.js")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        _resource("token_strip.html.jinja")
    )
    shades = [(face, ink, quiet(ink)) for face, ink in (shade(percent / 100) for percent in range(101))]
    html = template.render(
        title=title,
        caption=" ".join(caption),
        labels=strip.labels,
        samples=[
            {"heading": strip.heading(number), "snapshots": [list(_spans(row)) for row in snapshots]}
            for number, snapshots in enumerate(strip.samples)
        ],
        shades=shades,
        stops=", ".join(face for face, *_ in shades[::10]),
        masked=MASKED,
        any_masked=strip.masked,
        style=_resource("token_strip.css"),
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )
    return Page(html)


def _spans(tokens: Sequence[Token]) -> Iterator[tuple[str, str, str]]:
    """Yield the class, the tooltip and the text of each token."""
    for token in tokens:
        if token.text is None:
            yield "m", "masked", MASK_SIGN
            continue
        text = visible(token.text)
        quiet = " q" if set(text) <= QUIET else ""
        if token.shaded:
            yield f"p{round(100 * token.confidence)}{quiet}", f"{token.confidence:.3f}", text
        else:
            yield f"g{quiet}", "not predicted", text


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
