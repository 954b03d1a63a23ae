"""Check the built pages: nothing is loaded from elsewhere, and every link inside the site leads somewhere.

    python docs/check_pages.py docs/_build/html

A link to another site, which a reader may click, is no load. Prints what is wrong, one line each, and exits with 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Attributes by which a browser loads a file; ``href`` does so in ``link`` alone.
_LOADS = ("src", "srcset", "poster", "data")
#: What a ``link`` only names, and a browser does not load.
_NAMED_ONLY = {"index", "search", "next", "prev", "canonical", "author", "license", "copyright", "top", "up"}
_ELSEWHERE = re.compile(r"^\s*(https?:)?//", re.I)
_CSS_LOADS = re.compile(r"url\(\s*['\"]?\s*((?:https?:)?//[^)'\"]*)|@import\s+['\"]((?:https?:)?//[^'\"]*)", re.I)
#: Modules, workers and requests of a script, with an address that is written out.
_SCRIPT_LOADS = re.compile(r"\b(?:from|import|importScripts|fetch)\s*\(?\s*['\"`]((?:https?:)?//[^'\"`]*)", re.I)


class _Page(HTMLParser):
    """What a page loads, where it leads, and the places in it that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._inside = tag
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.loads += [
            values[name]
            for name in _LOADS
            if name in values and not (tag == "a" or (name == "data" and tag != "object"))
        ]
        self.loads += values.get("srcset", "").split(", ")[1:]
        self.loads += [found[0] or found[1] for found in _CSS_LOADS.findall(values.get("style", ""))]
        if tag == "link" and not set(values.get("rel", "").split()) <= _NAMED_ONLY:
            self.loads.append(values.get("href", ""))
        if tag in ("use", "image"):
            self.loads.append(values.get("href", values.get("xlink:href", "")))
        if tag in ("a", "area") and "href" in values:
            self.links.append(values["href"])

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.loads += [found[0] or found[1] for found in _CSS_LOADS.findall(data)]
        if self._inside == "script":
            self.loads += _SCRIPT_LOADS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each load from elsewhere, and for each link or file that is not there."""
    pages = {file: _Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site} has no pages"
    for file, page in pages.items():
        where = file.relative_to(site)
        for load in page.loads:
            if _ELSEWHERE.match(load):
                yield f"{where} loads {load[:120]}"
            elif (target := _target(file, load)) is not None and not target.is_file():
                yield f"{where} loads {load[:120]}, which is not there"
        for link in page.links:
            target = _target(file, link)
            if target is None:
                continue
            anchor = unquote(urlsplit(link).fragment)
            if not target.is_file():
                yield f"{where} leads to {link}, which is not there"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{where} leads to {link}, and there is no such place in that page"
    for file in sorted(site.rglob("*.css")):
        for found in _CSS_LOADS.findall(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(site)} loads {(found[0] or found[1])[:120]}"
    for file in sorted(site.rglob("*.js")):
        for load in _SCRIPT_LOADS.findall(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(site)} loads {load[:120]}"


def _target(page: Path, link: str) -> Path | None:
    """The file that a link inside the site leads to; None for any other."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page


def main() -> int:
    """Check the folder that was typed."""
    found = list(problems(Path(sys.argv[1]).resolve()))
    print(
        "\n".join([*found[:50], f"{len(found)} problems"])
        if found
        else "All links of the pages lead somewhere; none loads from elsewhere."
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
