"""Strips of tokens as text, picture and page: what is written, on which colour, and how it is escaped."""

import base64
import hashlib
import math
import re
from html.parser import HTMLParser

import pytest
from matplotlib import colormaps, colors
from matplotlib.collections import PolyCollection

from diffusion_lab.figures import Token, TokenStrip, strip_figure, strip_page, strip_text
from diffusion_lab.figures.cell_lines import MOST_CELLS, cut, in_cell, visible

STRIP = TokenStrip(
    "Denoising\nrun a/b, temperature 0.8",
    ["start", "t = 0.50", "t = 0.00"],
    [
        [
            [Token(None), Token("b"), Token(None)],
            [Token(" ", 0.9), Token("b"), Token(None)],
            [Token(" ", 0.9), Token("b"), Token("$x^2$", 0.25)],
        ]
    ],
)


def colour(probability):
    return colors.to_hex(colormaps["YlGnBu"](round(100 * probability) / 100))


def test_a_text_has_each_snapshot_with_bars_below():
    lines = strip_text(STRIP).splitlines()
    assert lines[:2] == ["Denoising", "run a/b, temperature 0.8"]
    assert lines[-5:] == ["start     ▒b▒", "t = 0.50  ·b▒", "          █", "t = 0.00  ·b$x^2$", "          █ ▃▃▃▃▃"]


def test_a_picture_shades_each_token_by_its_probability_and_marks_masks():
    figure = strip_figure(STRIP)
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text().strip()]
    written = [text.get_text() for text in texts]
    assert written[:2] == ["Denoising", "run a/b, temperature 0.8"]
    assert not any(text.get_parse_math() for text in texts)
    lines = [text.get_text() for text in texts if text.get_fontfamily() == ["DejaVu Sans Mono"]]
    assert lines == ["start", " b", "t = 0.50", "·", " b", "t = 0.00", "·", " b", "  $x^2$"]
    cells = next(part for part in axes.collections if isinstance(part, PolyCollection))
    masked = "#c9ccd1"
    faces = [masked, masked, colour(0.9), masked, colour(0.9), colour(0.25)]
    assert [colors.to_hex(face) for face in cells.get_facecolors()] == faces
    assert {"probability when last predicted", "masked"} <= set(written)


@pytest.mark.parametrize("length", [1, 96, 97, 256])
def test_long_lines_are_cut_into_equal_parts_that_fit(length):
    parts = cut([1] * length)
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, length)
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= MOST_CELLS
    assert len(parts) == math.ceil(length / MOST_CELLS)
    assert max(sizes) - min(sizes) < len(parts)


def test_nothing_of_a_long_strip_lies_outside_the_picture():
    rows = [[Token("g", 0.5)] * 256, [Token(None)] * 256]
    figure = strip_figure(TokenStrip("Denoising " * 30, ["start", "t = 0.00"], [rows] * 2))
    figure.draw_without_rendering()
    whole = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1


def test_what_cannot_be_seen_is_replaced():
    assert visible("a \n\t\0\u202e\ud800\u0301é") == "a·↵⇥����é"
    assert in_cell("a" * 40) == "a" * 15 + "…"


class Parsed(HTMLParser):
    """The elements of a page, and the texts within its tokens."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.tokens, self.open = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open = dict(attributes) if tag == "i" else None

    def handle_endtag(self, tag):
        self.open = None

    def handle_data(self, text):
        if self.open is not None:
            self.tokens.append((self.open["class"], self.open.get("title"), text))


HOSTILE = "</i><script>alert(1)</script>\"'&\0"


@pytest.fixture(scope="module")
def page():
    rows = [*STRIP.samples[0][:2], [Token(HOSTILE, 0.5), Token("\u202e", 0.004), Token("🙂", 1.0)]]
    return strip_page(TokenStrip(f"Denoising\n{HOSTILE}", STRIP.labels, [rows, rows])).html


def test_a_page_has_a_line_for_each_snapshot_and_a_span_for_each_token(page):
    parsed = Parsed(page)
    assert sum(tag == "li" for tag, _ in parsed.tags) == 2 * 3
    legend = 3
    assert len(parsed.tokens) == legend + 2 * 9
    assert parsed.tokens[legend : legend + 6] == [
        ("m", "masked", "▒"), ("g", "not predicted", "b"), ("m", "masked", "▒"),
        ("p90 q", "0.900", "·"), ("g", "not predicted", "b"), ("m", "masked", "▒"),
    ]  # fmt: skip
    seen = HOSTILE.replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert parsed.tokens[-3:] == [("p50", "0.500", seen), ("p0", "0.004", "�"), ("p100", "1.000", "🙂")]
    for percent in (0, 50, 100):
        assert f".p{percent}{{background:{colour(percent / 100)};" in page


def test_a_page_is_whole_in_itself_and_runs_only_its_own_script(page):
    parsed = Parsed(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not any({"src", "href"} & set(attributes) for _, attributes in parsed.tags)
    assert "url(" not in page
    assert "@import" not in page
    script = re.search("<script>(.*)</script>", page.split("<ol>")[-1], re.DOTALL)[1]
    policy = next(a["content"] for tag, a in parsed.tags if "Content-Security-Policy" in a.values())
    assert policy.startswith("default-src 'none'")
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
