"""A figure to a file and to loggers of each kind, none of which is installed for it."""

import html
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard import plugin_util

from diffusion_lab.figures import Page, save_figure, save_figures
from diffusion_lab.figures.save_figure import as_markdown


class Experiment:
    """Whatever is called on it is noted."""

    def __init__(self, method):
        self.calls = []
        if method:
            setattr(self, method, lambda *arguments, **_: self.calls.append(arguments))


class Logger:
    def __init__(self, method=None):
        self.experiment = Experiment(method)


class WandbLogger(Logger):
    def log_image(self, key, images, step=None):
        assert Path(images[0]).read_bytes().startswith(b"\x89PNG")
        self.experiment.calls.append((key, images, step))


class MLFlowLogger(Logger):
    run_id = "abc"


@pytest.fixture
def figure():
    return Figure(figsize=(1, 1))


def test_each_kind_of_logger_is_shown_the_figure_in_its_own_way(tmp_path, figure):
    tensorboard, wandb, mlflow, csv = Logger("add_image"), WandbLogger(), MLFlowLogger("log_figure"), Logger()
    path = save_figure(figure, tmp_path, "samples_epoch_0005", [csv, tensorboard, wandb, mlflow], 60, "samples/grid")
    assert path == tmp_path / "samples_epoch_0005.png"
    ((tag, drawn, step),) = tensorboard.experiment.calls
    assert (tag, step) == ("samples/grid", 60)
    with Image.open(path) as image:  # the picture of the file, in colour, and not transparent
        assert np.array_equal(drawn, np.asarray(image.convert("RGB")))
    assert wandb.experiment.calls == [("samples/grid", [str(path)], 60)]
    assert mlflow.experiment.calls == [("abc", figure, "figures/samples_epoch_0005.png")]
    assert csv.experiment.calls == []


def test_without_a_tag_the_name_is_the_tag(tmp_path, figure):
    tensorboard, wandb = Logger("add_image"), WandbLogger()
    path = save_figure(figure, tmp_path, "loss", [tensorboard, wandb], 3)
    assert [(tag, step) for tag, _, step in tensorboard.experiment.calls] == [("loss", 3)]
    assert wandb.experiment.calls == [("loss", [str(path)], 3)]


def test_forms_of_one_figure_are_files_of_one_name(tmp_path, figure):
    files = save_figures(["text", figure, Page("<p>page")], tmp_path, "strip", [Logger()])
    assert [file.name for file in files] == ["strip.txt", "strip.png", "strip.html"]
    assert files[2].read_text() == "<p>page"
    assert save_figures("text", tmp_path, "one") == [tmp_path / "one.txt"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two  spaces\n\n    four", "  two  spaces\n\n    four"),
        ("a\n   \nb", "a\n\xa0\xa0\xa0\nb"),
        ("```\n# no *heading*\n````\n<b>&amp;", "```\n# no *heading*\n````\n<b>&amp;"),
        ("\x02tab\there\x03\0", "\ufffdtab⇥here\ufffd\ufffd"),
        ("é = e\u0301", "é = e\u0301"),
    ],
)
def test_tensorboard_shows_a_text_as_it_is(text, shown):
    page = plugin_util.markdown_to_safe_html(as_markdown(text))
    assert page.startswith("<pre><code>")
    assert html.unescape(page.removeprefix("<pre><code>").removesuffix("\n</code></pre>")) == shown
