"""The check of built pages finds what a reader without a network would miss."""

import pytest
from check_pages import problems


def site(folder, head="", body="", css="", js=""):
    (folder / "style.css").write_text(css)
    (folder / "script.js").write_text(js)
    (folder / "other.html").write_text('<p id="place">')
    page = f'<head><link rel="stylesheet" href="style.css"><script src="script.js"></script>{head}</head>{body}'
    (folder / "index.html").write_text(page)
    return list(problems(folder))


@pytest.mark.parametrize(
    "parts",
    [
        {"head": '<link rel="stylesheet" href="https://a.org/a.css">'},
        {"head": '<link rel="preconnect" href="https://a.org">'},
        {"head": '<script src="//a.org/a.js"></script>'},
        {"head": "<script type='module'>import x from 'https://a.org/x.mjs'</script>"},
        {"head": "<style>@import 'https://a.org/a.css';</style>"},
        {"body": '<img src="http://a.org/a.png">'},
        {"body": '<p style="background: url(https://a.org/a.png)">'},
        {"body": '<iframe src="https://a.org"></iframe>'},
        {"body": '<object data="https://a.org/a.svg"></object>'},
        {"css": "@font-face { src: url('https://a.org/a.woff2') }"},
        {"js": "fetch('https://a.org/a.json')"},
    ],
)
def test_a_load_from_elsewhere_is_found(tmp_path, parts):
    (found,) = site(tmp_path, **parts)
    assert "loads" in found
    assert "//a.org" in found


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('<a href="missing.html">', "not there"),
        ('<img src="missing.png">', "not there"),
        ('<a href="other.html#nowhere">', "no such place"),
        ('<a href="#nowhere">', "no such place"),
    ],
)
def test_a_dead_link_inside_the_site_is_found(tmp_path, body, word):
    (found,) = site(tmp_path, body=body)
    assert word in found


def test_links_to_other_sites_and_places_that_are_there_are_fine(tmp_path):
    good = '<a href="https://a.org">a</a> <a href="other.html#place">b</a> <a href="mailto:a@a.org">c</a>'
    assert site(tmp_path, head='<link rel="next" href="other.html">', body=good, css="a { b: url(data:x) }") == []


def test_a_folder_without_pages_is_no_site(tmp_path):
    assert len(list(problems(tmp_path))) == 1
