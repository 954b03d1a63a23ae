"""A figure to a file and to loggers of each kind, none of which is installed for it."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from diffusion_lab.figures import save_figure


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
