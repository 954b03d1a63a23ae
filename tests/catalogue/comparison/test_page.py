"""The HTML of the page: complete, small, and without markup from run folders."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import jinja2
import numpy as np
import pytest

from diffusion_lab.catalogue.comparison import page
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


def table(text, name):
    """The rows of a table, the headings first: the text of each cell."""
    found = re.search(rf'<table id="{name}">(.*?)</table>', text, re.S)[1]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in found.split("<tr")[1:]]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in rows]


def headings_of_numbers(text, name):
    found = re.search(rf'<table id="{name}">(.*?)</table>', text, re.S)[1]
    return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r'<th class="number"[^>]*>(.*?)</th>', found)]


def values_to_sort_by(text, name, column):
    found = re.search(rf'<table id="{name}">(.*?)</table>', text, re.S)[1]
    cells = [re.findall(r"<td([^>]*)>", row) for row in found.split("<tr")[2:]]
    return [re.search(r'data-value="(.*?)"', row[column])[1] for row in cells]


def plots(text):
    """The plot of each row: where its runs, its mean, its interval and the best mean are."""
    found = []
    for plot in re.findall(r"<svg.*?</svg>", text, re.S):
        elements = Elements(plot)
        lines = {line["class"]: (float(line["x1"]), float(line["x2"])) for line in elements.all("line")}
        assert lines.pop("axis") == (0, 170)
        found.append(([float(point["cx"]) for point in elements.all("circle")], lines))
    return found


def test_the_results_have_the_metrics_that_were_asked_for_and_others_that_vary(tmp_path):
    fake_sweep(tmp_path, recognition=0.5)
    text = made(tmp_path, "val/loss", "recognition.samples")
    rows = table(text, "results")
    keys = ["", "schedule", "network.base_channels"]
    others = ["recognition.samples", "train/loss", "val/loss_best", "runs"]
    assert rows[0] == [*keys, "val/loss", "each run", "95 % interval", *others]
    assert headings_of_numbers(text, "results") == ["val/loss", "95 % interval", *others]
    interval = "0.5020 … 0.5060"
    others = ["0.5000", "0.6040 ± 0.0020", "0.2520 ± 0.0010", "3"]
    assert rows[1] == ["", "linear", "16", "0.5040 ± 0.0020", "", interval, *others]
    assert [row[1:3] for row in rows[1:]] == [["linear", "16"], ["linear", "8"], ["cosine", "16"], ["cosine", "8"]]
    assert [float(v) for v in values_to_sort_by(text, "results", 3)] == pytest.approx([0.504, 0.556, 0.704, 0.756])
    assert [float(v) for v in values_to_sort_by(text, "results", 5)] == [0.502, 0.553, 0.702, 0.753]
    five = ["train/loss", "val/loss", "parameters", "wall_time_s", "recognition.samples"]
    assert table(made(tmp_path, *five), "results")[0][3:] == [five[0], "each run", "95 % interval", *five[1:], "runs"]


@pytest.mark.parametrize(
    ("metric", "order"), [("val/loss", "ascending"), ("recognition.samples", "descending")], ids=str
)
def test_the_results_are_sorted_by_the_first_metric_the_best_first(tmp_path, metric, order):
    for schedule, recognition in (("linear", 0.9), ("cosine", 0.5)):
        fake_run(tmp_path, schedule=schedule, loss=1 - recognition, recognition=recognition)
    text = made(tmp_path, metric, "train/loss")
    assert [row[1] for row in table(text, "results")] == ["schedule", "linear", "cosine"]
    sorted_by = [
        (direction, re.sub(r"<[^>]*>", "", heading))
        for direction, heading in re.findall(r'<th[^>]* aria-sort="(\w+)">(.*?)</th>', text)
    ]
    assert sorted_by == [(order, metric)]
    assert re.findall(r'<tr( class="best")? data-hover="(\d)">\n  <td><button', text) == [
        (' class="best"', "0"),
        ("", "1"),
    ]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((3, 3), "2 configs · 3 of each · lower is better"),
        ((1, 3), "2 configs · 1 to 3 of each · lower is better"),
        ((2, 0), "1 config · 2 of each · lower is better"),
    ],
)
def test_the_subtitle_says_how_many_runs_each_config_has(tmp_path, seeds, said):
    for schedule, number in zip(("linear", "cosine"), seeds, strict=True):
        for seed in range(number):
            fake_run(tmp_path, schedule=schedule, seed=seed)
    assert f'<p class="facts">{said}</p>' in made(tmp_path)


def test_the_subtitle_says_that_higher_is_better(tmp_path):
    fake_run(tmp_path, recognition=0.5)
    text = made(tmp_path, "recognition.samples")
    assert '<p class="facts">1 config · 1 of each · higher is better</p>' in text
    assert "<title>1 run by recognition.samples</title>" in text


def test_plots_place_every_run_between_the_lowest_and_the_highest_of_all(tmp_path):
    for schedule, seed, loss in (("linear", 1, 0.2), ("linear", 2, 0.4), ("cosine", 1, 0.8)):
        fake_run(tmp_path, schedule=schedule, seed=seed, loss=loss)
    # From 8 to 162 pixels: 0.4 is at a third of them, and the mean of the linear runs, 0.3, at a sixth.
    assert plots(made(tmp_path)) == [
        ([8, 59.3], {"axis next": (33.7, 33.7), "range": (8, 59.3), "mean": (33.7, 33.7)}),
        ([162], {"axis next": (33.7, 33.7), "mean": (162, 162)}),  # one run has no interval
    ]


def test_the_plot_of_equal_runs_has_them_in_the_middle(tmp_path):
    fake_run(tmp_path, loss=0.5)
    assert plots(made(tmp_path)) == [([85], {"axis next": (85, 85), "mean": (85, 85)})]


def test_a_row_without_the_metric_has_dashes_and_no_plot(tmp_path):
    fake_run(tmp_path, schedule="linear", loss=0.5)
    (fake_run(tmp_path, schedule="cosine") / "metrics.json").write_text("{}")
    text = made(tmp_path)
    rows = table(text, "results")
    assert [row[:5] for row in rows[1:]] == [["", "linear", "0.5000", "", ""], ["", "cosine", "–", "", ""]]
    assert values_to_sort_by(text, "results", 2) == ["0.5", ""]
    assert values_to_sort_by(text, "results", 4) == ["", ""]
    assert len(plots(text)) == 1
    assert [row[3] for row in table(text, "runs")] == ["val/loss", "0.5000", "–"]
    assert values_to_sort_by(text, "runs", 3) == ["0.5", ""]


def test_each_run_is_a_row_with_what_was_said_of_it(tmp_path):
    fake_run(tmp_path, seed=1, loss=0.5, folder="first", tags=["x", "y"])
    fake_run(tmp_path, seed=2, loss=0.6, folder="second", notes="odd", status="interrupted")
    rows = table(made(tmp_path), "runs")
    assert rows[0] == ["", "run", "seed", "val/loss", "time", "state", "tags", "notes"]
    assert rows[1:] == [
        ["", "first", "1", "0.5000", "31 s", "finished", "xy", ""],
        ["", "second", "2", "0.6000", "32 s", "interrupted", "", "odd"],
    ]
    fake_run(tmp_path / "other", seed=1, folder="plain")
    assert table(made(tmp_path / "other"), "runs")[0] == ["", "run", "seed", "val/loss", "time", "state"]


@pytest.mark.parametrize(
    ("number", "steps"),
    [(3, [1, 2, 3]), (200, [*range(1, 201)]), (400, [*range(2, 401, 2)]), (401, [*range(2, 402, 3)])],
)
def test_long_curves_are_thinned_out_evenly_up_to_their_last_point(tmp_path, number, steps):
    epochs = [{"step": step, "val/loss": step / 3} for step in range(1, number + 1)]
    (fake_run(tmp_path) / "metrics.json").write_text(json.dumps({"epochs": epochs}))
    curve = data(made(tmp_path))["groups"][0]["runs"][0]["val/loss"]
    assert [step for step, _ in curve] == steps
    assert [value for _, value in curve] == pytest.approx([step / 3 for step in steps], rel=1e-4)


def test_samples_of_only_so_many_runs_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_MAX_SAMPLES", 4)
    fake_sweep(tmp_path, samples=1)
    text = made(tmp_path)
    assert re.findall(r"<span>seed (\d)</span><span>(.*?)</span>", text) == [
        ("1", "0.5020"), ("2", "0.5040"), ("3", "0.5060"), ("1", "0.5530"),
    ]  # fmt: skip
    assert "All began with the same noise. Below each: val/loss." in text


def test_samples_of_different_sampling_seeds_are_not_said_to_share_their_noise(tmp_path):
    for seed in (1, 2):
        fake_run(tmp_path, seed=seed, samples=1, sampling={"seed": seed})
    text = made(tmp_path)
    assert "All began with the same noise." not in text
    assert "Below each: val/loss." in text


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
