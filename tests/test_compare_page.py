"""The comparison page in a real browser: its sorting, hiding and charts, and that it fetches nothing."""

import json

import pytest

import browser as browsers
from diffusion_lab.catalogue.comparison.comparison import build_comparison
from diffusion_lab.catalogue.comparison.page import render_page
from diffusion_lab.catalogue.find import find_runs
from fake_runs import fake_run, fake_sweep

pytestmark = browsers.MARKS

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsers.opened(tmp_path_factory.mktemp("browser"), (1300, 1000)) as browser:
        yield browser


class Page:
    """The page in the browser."""

    def __init__(self, browser, path):
        self.browser = browser
        browser.get("about:blank")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(path.as_uri())
        self.run("document.getElementById('curves').scrollIntoView()")

    def run(self, code, *arguments):
        """Run JavaScript and return its value two frames later, when its changes have been drawn."""
        wait = "const done = arguments[arguments.length - 1]; requestAnimationFrame(() => requestAnimationFrame(done));"
        found = self.browser.execute_script(code, *arguments)
        self.browser.execute_async_script(wait)
        return found

    def click(self, selector, index=0, **event):
        script = (
            "document.querySelectorAll(arguments[0])[arguments[1]].dispatchEvent(new MouseEvent('click', arguments[2]))"
        )
        self.run(script, selector, index, {"bubbles": True, **event})

    def column(self, index, table="results"):
        script = "return [...document.querySelectorAll(arguments[0])].map(r => r.cells[arguments[1]].innerText.trim())"
        return self.run(script, f"#{table} tbody tr", index)

    def drawn(self):
        """The rows whose curves are in the chart, and how many lines each has."""
        script = """return [...document.querySelectorAll('#chart g[data-group]')].map(
            g => [+g.dataset.group, g.querySelectorAll('path:not(.band)').length])"""
        return dict(map(tuple, self.run(script)))

    def requests(self):
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    fake_sweep(folder, samples=16, recognition=0.5, tags=["widths"])
    fake_run(folder, schedule="cosine", channels=8, seed=4, loss=0.9, notes=HOSTILE, tags=[HOSTILE], folder="<b>odd")
    path = folder / "page.html"
    compared = build_comparison(find_runs([folder / "fake"]), [], ["val/loss", "recognition.samples"])
    path.write_text(render_page(compared))
    return path


@pytest.fixture
def shown(browser, written):
    """The page; after the test, the browser must have logged no error and requested nothing but the page itself."""
    page = Page(browser, written)
    yield page
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert {url.split(":")[0] for url in page.requests()} <= {"file", "data"}
    assert browser.title == "13 runs by val/loss"


def test_the_page_is_as_wide_as_the_window_and_its_pictures_are_drawn(shown):
    for width in (1300, 800, 400):
        shown.browser.set_window_size(width, 1000)
        assert shown.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        chart = shown.run("return document.querySelector('#chart svg').getBoundingClientRect().toJSON()")
        assert chart["right"] <= shown.run("return innerWidth")
    shown.browser.set_window_size(1300, 1000)
    sizes = shown.run("return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])")
    assert len(sizes) == 12
    assert all(complete and natural > 50 and seen > 50 for complete, natural, seen in sizes)


def test_a_click_on_a_heading_sorts_the_rows_and_another_reverses_them(shown):
    widths, losses = 2, 3
    assert shown.column(widths) == ["16", "8", "16", "8"]
    shown.click("#results th button", widths - 1)
    assert shown.column(widths) == ["8", "8", "16", "16"]
    shown.click("#results th button", widths - 1)
    assert shown.column(widths) == ["16", "16", "8", "8"]
    shown.click("#results th button", losses - 1)
    ascending = [float(text.split()[0]) for text in shown.column(losses)]
    assert ascending == sorted(ascending)
    shown.click("#results th button", losses - 1)
    assert [float(text.split()[0]) for text in shown.column(losses)] == ascending[::-1]
    # The one run without this number stands last, either way.
    for _ in range(2):
        shown.click("#runs th button", 3)
        assert shown.column(4, "runs")[-1] == "–"


def test_a_colour_key_hides_and_shows_the_curves_of_a_row(shown):
    assert shown.drawn() == {0: 1, 1: 1, 2: 1, 3: 1}
    shown.click(".chips button", 2)
    assert shown.drawn().keys() == {0, 1, 3}
    pressed = "return [...document.querySelectorAll('button[data-group=\"2\"]')].map(e => e.ariaPressed)"
    assert shown.run(pressed) == ["false", "false"]
    shown.click("#results tbody button", 2)
    assert shown.drawn().keys() == {0, 1, 2, 3}
    shown.click(".chips button", 1, shiftKey=True)
    assert shown.drawn().keys() == {1}
    shown.click(".chips button", 1)
    assert shown.drawn() == {}
    assert "Nothing is shown" in shown.run("return document.querySelector('#chart').textContent")


def test_loss_scale_and_lines_are_chosen(shown):
    ticks = "return [...document.querySelectorAll('#chart text')].map(t => t.textContent)"
    path = "return document.querySelector('#chart path').getAttribute('d')"
    before, first = shown.run(ticks), shown.run(path)
    assert before[-2:] == ["val/loss", "optimizer steps"]
    shown.click(".choice[data-name=scale] button", 1)
    assert shown.run(ticks) != before
    assert shown.run(path) != first
    shown.click(".choice[data-name=curve] button", 1)
    assert shown.run(ticks)[-2:] == ["train/loss", "optimizer steps"]
    shown.click(".choice[data-name=lines] button", 1)
    assert shown.drawn() == {0: 3, 1: 3, 2: 3, 3: 4}
    assert shown.run("return document.querySelectorAll('#chart .band').length") == 0


def test_the_tooltip_shows_the_means_at_the_mouse(shown):
    from selenium.webdriver import ActionChains

    chart = shown.browser.find_element("css selector", "#chart svg")
    ActionChains(shown.browser).move_to_element_with_offset(chart, chart.size["width"] // 2 - 20, 0).perform()
    tip = [line for line in shown.run("return document.getElementById('tip').innerText").split("\n") if line]
    assert tip[0] == "val/loss at step 30"
    told = dict(zip(tip[1::2], map(float, tip[2::2]), strict=True))
    assert told["linear, base_channels 16"] == pytest.approx(0.504)
    assert list(told.values()) == sorted(told.values())
    assert len(told) == 4
    inside = "const t = tip.getBoundingClientRect(); return t.left >= 0 && t.right <= innerWidth"
    assert shown.run(inside)
    ActionChains(shown.browser).move_to_element(shown.browser.find_element("tag name", "h2")).perform()
    assert shown.run("return document.getElementById('tip').hidden")


def test_light_and_dark(shown):
    colour = "return getComputedStyle(document.documentElement).backgroundColor"
    found = set()
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        before = shown.run(colour)
        shown.click("#theme")
        assert shown.run(colour) != before
        shown.click("#theme")
        assert shown.run(colour) == before
        shown.run("delete document.documentElement.dataset.theme")
        assert shown.run(colour) == before
        found.add(before)
    assert len(found) == 2


def test_text_from_run_folders_is_no_markup(shown):
    assert HOSTILE in shown.run("return document.body.innerText")
    assert shown.run("return document.querySelectorAll('img[onerror], #runs b').length") == 0


def test_an_injected_script_does_not_run(browser, written, tmp_path):
    """The Content-Security-Policy protects the page even if some text is not escaped."""
    path = tmp_path / "page.html"
    path.write_text(written.read_text().replace("<footer>", f"{HOSTILE.removeprefix('</script>')}<footer>"))
    page = Page(browser, path)
    assert page.run("return document.querySelectorAll('img[onerror]').length") == 1
    assert browser.title == "13 runs by val/loss"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))
