"""The HTML of the page: complete, small, and without markup from run folders."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import jinja2
import numpy as np
import pytest

from diffusion_lab.catalogue.comparison.comparison import build_comparison
from diffusion_lab.catalogue.comparison.page import page_template, render_page
from diffusion_lab.catalogue.find import find_runs
from fake_runs import fake_run, fake_sweep

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ style }}{% if x %}</title>&lt;"


class Elements(HTMLParser):
    """Every element with its attributes, and all text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "line", "circle"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("meta", "img", "line", "circle"):
            assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def made(tmp_path, *metrics, **options):
    return render_page(build_comparison(find_runs([tmp_path]), [], metrics or ["val/loss"], **options))


def data(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def test_every_row_and_run_is_there(tmp_path):
    paths = fake_sweep(tmp_path, samples=9, recognition=0.5)
    text = made(tmp_path, "val/loss", "recognition.samples")
    elements = Elements(text)
    assert elements._open == []
    said = "".join(elements.text)
    for path in paths:
        assert path.name in said
    assert "12 runs by val/loss" in said
    assert "linear, base_channels 16 is better than linear, base_channels 8" in said
    pictures = elements.all("img")
    assert len(pictures) == 12
    assert all(base64.b64decode(p["src"].partition(",")[2]).startswith(b"\x89PNG") for p in pictures)
    found = data(text)
    assert found["groups"][0]["label"] == "linear, base_channels 16"
    assert found["groups"][0]["runs"][0]["val/loss"] == [[10, 1.506], [20, 0.251], [30, 0.502]]


def test_samples_that_are_text_are_shown_as_text(tmp_path):
    for path in fake_sweep(tmp_path):
        (path / "samples").mkdir()
        (path / "samples" / "final.txt").write_text("[0]\nHark! <b>\x1b[1m\n\n  who\n\n[1]\nthe second\n")
    text = made(tmp_path)
    assert Elements(text)._open == []
    assert text.count("<pre>Hark! &lt;b&gt;[1m\n\n  who</pre>") == 12
    assert "the second" not in text
    assert "No run has samples" not in text


def test_nothing_is_fetched_and_nothing_but_the_shipped_script_may_run(tmp_path):
    fake_sweep(tmp_path, samples=1)
    text = made(tmp_path)
    elements = Elements(text)
    policy = next(m["content"] for m in elements.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    assert len(elements.all("script")) == 2
    assert not elements.all("link") + elements.all("iframe") + elements.all("object") + elements.all("a")
    assert re.findall(r"https?://[^\s\"'<]+", text) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in text
    assert "@import" not in text


def test_text_from_run_folders_is_escaped(tmp_path):
    for seed in (1, 2):
        for odd in (HOSTILE, "plain"):
            fake_run(
                tmp_path, seed=seed, folder=f"{'x<b>' if odd == HOSTILE else 'y'}{seed}", samples=1,
                extra={"odd": odd, HOSTILE: 1}, notes=HOSTILE, tags=[HOSTILE], name=f"n{seed}",
            )  # fmt: skip
    path = fake_run(tmp_path, seed="</script>", folder="odd")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"seed": 3}))
    (path / "metrics.json").write_text(json.dumps({"val/loss": 0.5, HOSTILE: {"samples": 0.5, HOSTILE: 1.0}}))
    text = made(tmp_path, "val/loss", HOSTILE + ".samples")
    elements = Elements(text)
    assert elements._open == []
    assert len(elements.all("script")) == 2
    assert all(img["src"].startswith("data:image/png;base64,") for img in elements.all("img"))
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert not elements.all("b")
    assert HOSTILE in "".join(elements.text)
    assert any(HOSTILE[:40] in group["label"] for group in data(text)["groups"])


@pytest.mark.slow
def test_twelve_runs_of_larger_images_stay_below_four_megabytes(tmp_path):
    for path in fake_sweep(tmp_path):
        (path / "samples").mkdir()
        noise = np.random.default_rng(0).uniform(-1, 1, (64, 3, 32, 32)).astype(np.float32)
        np.save(path / "samples" / "final.npy", noise)
        rows = [{"step": 10 * n, "val/loss": 1 / n, "train/loss": 1 / n} for n in range(1, 20_000)]
        (path / "metrics.json").write_text(json.dumps({"epochs": rows, "val/loss": 0.5}))
    text = made(tmp_path)
    assert len(text) < 4_000_000
    curve = data(text)["groups"][0]["runs"][0]["val/loss"]
    assert len(curve) <= 200
    assert curve[-1] == [199_990, pytest.approx(1 / 19_999, rel=1e-4)]


def test_runs_without_samples_and_curves_have_a_page(tmp_path):
    for seed in (1, 2):
        (fake_run(tmp_path, seed=seed) / "metrics.json").write_text('{"val/loss": 0.5}')
    text = made(tmp_path)
    assert data(text)["curves"] == []
    assert "No run has samples." in text


def test_infinite_numbers_are_left_out_of_the_curves(tmp_path):
    fake_run(tmp_path, seed=1)
    path = fake_run(tmp_path, seed=2)
    epochs = [{"step": 1, "val/loss": 0.5}, {"step": 2, "val/loss": 1e999}, {"step": 3, "val/loss": 1e308}]
    (path / "metrics.json").write_text(json.dumps({"epochs": epochs, "val/loss": float("nan")}))
    found = data(made(tmp_path))
    assert [len(run["val/loss"]) for run in found["groups"][0]["runs"]] == [3, 2]


def test_an_undefined_template_variable_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        page_template().render()
