"""The Markdown pages as they are read in the repository: their links lead somewhere, and the README is one page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Pages that are made when the site is built; nothing in the repository may link to them.
MADE = ("docs/_build", "docs/reference/api", "docs/reference/commands", "docs/reference/config")
#: Snippets of the pages that are made, whose links start from there.
SNIPPETS = ROOT / "docs" / "reference" / "notes"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.relative_to(ROOT).as_posix().startswith(MADE)),
]


def prose(page):
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page):
    """The places in a page that a link can name, as GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    here = SNIPPETS.parent / "config" if page.parent == SNIPPETS else page.parent
    text = re.sub(r"`[^`\n]+`", "", prose(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (here / path).resolve() if path else page
        assert target.exists(), link
        assert not target.relative_to(ROOT).as_posix().startswith(MADE), f"{link} is not in the repository"
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_begins_like_a_comment_of_the_site(page):
    """A line that begins with a percent sign is left out of the site, and shown in the repository."""
    assert re.findall(r"^ {0,3}(?:%|\+\+\+).*$", prose(page), re.M) == []


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.parametrize("folder", ["how-to", "concepts", "reference", "results"])
def test_the_list_of_a_folder_names_all_of_its_pages(folder):
    """As links, which are read in the repository, and in the order of the site."""
    pages = {page.name for page in (ROOT / "docs" / folder).glob("*.md")} - {"index.md"}
    index = (ROOT / "docs" / folder / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == pages
    listed = index.split("```{toctree}")[1].split("```")[0].split("\n\n")[1].split()
    assert {f"{name}.md" for name in listed} == pages
