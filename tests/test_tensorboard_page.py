"""TensorBoard's page on a sweep of four runs, as a person sees it in a real browser."""

import itertools
import json
from urllib.parse import quote

import pytest

import browser as browsers
from tensorboard_runs import served, sweep

pytestmark = browsers.MARKS

#: The page's parts lie in shadow trees: all text that is seen, with a mark for each picture that has been drawn.
PICTURE = "[picture]"
DEEP = """
    const seen = [];
    const walk = node => {
        if (node.nodeType === Node.TEXT_NODE && node.parentElement?.checkVisibility()) seen.push(node.data.trim());
        if (node.tagName === 'IMG' && node.naturalWidth > 100 && node.checkVisibility()) seen.push(arguments[0]);
        if (['STYLE', 'SCRIPT'].includes(node.tagName)) return;
        if (node.shadowRoot) walk(node.shadowRoot);
        node.childNodes.forEach(walk);
    };
    walk(document.body);
    return seen.filter(text => text);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A function from a tab and a condition on what is seen to that, once the condition holds."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    outputs = tmp_path_factory.mktemp("outputs")
    folders = sweep(outputs)
    profile = tmp_path_factory.mktemp("browser")
    with served(str(outputs)) as address, browsers.opened(profile, (2260, 1000)) as browser:

        def look(tab, condition):
            browser.get("about:blank")
            browser.get(f"{address}/#{tab}")
            seen = None

            def holds(browser):
                nonlocal seen
                seen = browser.execute_script(DEEP, PICTURE)
                return condition(seen)

            try:
                WebDriverWait(browser, 60).until(holds)
            except TimeoutException:
                pytest.fail(f"{tab}: {json.dumps(seen)[:5000]}")
            return seen

        look.runs = [f"tiny/{folder.path.name}/tensorboard" for folder in folders]
        yield look


def test_the_scalars_of_every_run(page):
    tags = ("train/loss_step", "train/loss_epoch", "train/loss_by_t/0.75-1.00", "val/loss")
    page(f"scalars&tagFilter={quote('loss', safe='')}", lambda seen: {*tags, *page.runs} <= set(seen))


def test_the_images_of_every_run(page):
    tags = ("samples/grid", "samples/denoising", "samples/real_and_generated")

    def cards(seen):
        """(tag, run) of each picture, from the words above it."""
        above = []
        for text in seen:
            if text != PICTURE:
                above.append(text)
                continue
            found = [[word for word in above if word in words] for words in (tags, page.runs)]
            if all(found):
                yield found[0][-1], found[1][-1]
            above = []

    page("images&tagFilter=samples", lambda seen: set(itertools.product(tags, page.runs)) <= set(cards(seen)))


def test_hparams_show_what_differs_beside_what_came_of_it(page):
    seen = page("hparams", lambda seen: "Trial ID" in seen and set(page.runs) <= set(seen))
    table = seen[seen.index("Trial ID") :]
    heads = table[: table.index(page.runs[0])]
    assert heads[:4] == ["Trial ID", "Show Metrics", "network.base_channels", "schedule"]
    assert "Final/loss_best_val" in heads
    rows = [table[table.index(run) :] for run in page.runs]
    chosen = [(float(row[1]), row[2]) for row in rows]
    assert chosen == [(8, "linear"), (16, "linear"), (8, "cosine"), (16, "cosine")]
