import itertools
import math
import multiprocessing
import os
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch.nn import functional

from diffusion_lab import console
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.data import Digits, ImageFolder, Split, Stored
from diffusion_lab.errors import LabError
from diffusion_lab.metrics import feature_training
from diffusion_lab.metrics.feature_network import seeded_network
from diffusion_lab.metrics.feature_training import (
    FeatureTraining,
    accuracy,
    check_trainable,
    one_cycle,
    shifted,
    train_network,
)
from diffusion_lab.noise import Noise
from picture_folder import fill

SHORT = FeatureTraining(steps=6, batch_size=64, shift=1)


def digits(**options):
    data = Digits(**{"image_size": 8, "limit_train": 256} | options)
    data.setup()
    return data


def same(one, other):
    ones, others = one.state_dict(), other.state_dict()
    return all(torch.equal(ones[name], others[name]) for name in ones)


@pytest.fixture(scope="module")
def trained():
    return train_network(digits(), SHORT)


def test_training_twice_gives_the_same_bits_whatever_the_global_generator(trained):
    torch.manual_seed(5)
    assert same(train_network(digits(), SHORT), trained)


def test_another_seed_gives_another_network(trained):
    assert not same(train_network(digits(), FeatureTraining(6, 64, shift=1, seed=1)), trained)


def test_images_are_shifted_in_training(trained):
    """The shifts are all that a training without them lacks."""
    assert not same(train_network(digits(), FeatureTraining(6, 64, shift=0)), trained)


def test_neither_the_test_images_nor_those_held_out_are_seen_in_training(trained):
    """All of them replaced by noise with wrong labels, the same network comes out."""
    data = digits()
    for name in ("val", "test"):
        split = getattr(data, name)
        setattr(data, name, Split(torch.randint_like(split.data, 256), (split.labels + 1) % 10))
    assert same(train_network(data, SHORT), trained)


def test_the_training_images_are_all_that_matters(trained):
    data = digits()
    images = data.train.data.clone()
    images[-1] = 255 - images[-1]
    data.train = Split(images, data.train.labels)
    assert not same(train_network(data, SHORT), trained)


def test_the_digits_are_learned():
    data = digits(limit_train=512)
    network = train_network(data, FeatureTraining(steps=40, batch_size=32, shift=1))
    assert not network.training
    assert accuracy(network, data, data.test) > 0.5
    shuffled = Split(data.test.data, data.test.labels[torch.randperm(len(data.test.labels))])
    assert accuracy(network, data, shuffled) < 0.3


def test_the_accuracy_does_not_depend_on_the_batch_size(trained):
    data = digits()
    network_input = data.to_batch(data.val.data)
    with torch.no_grad():
        right = (trained(network_input)[1].argmax(1) == data.val.labels).float().mean()
    batches = []
    with trained.register_forward_pre_hook(lambda _, arguments: batches.append(len(arguments[0]))):
        found = [accuracy(trained, data, data.val, size) for size in (7, 1000)]
    assert found == [pytest.approx(float(right))] * 2
    batches_by_default = []
    many = Split(data.val.data[:100].repeat(6, 1, 1, 1), data.val.labels[:100].repeat(6))
    with trained.register_forward_pre_hook(lambda _, arguments: batches_by_default.append(len(arguments[0]))):
        accuracy(trained, data, many)
    assert batches_by_default == [500, 100]
    whole, left = divmod(len(data.val), 7)
    assert batches == [7] * whole + [left] * (left > 0) + [len(data.val)]


def test_shifts_move_each_image_by_at_most_so_much_and_repeat_the_rim():
    """Each image is the coordinates of its pixels, so that its shift can be read from it."""
    size, most = 9, 2
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).to(torch.uint8)
    moved = shifted(grid.expand(400, 2, size, size), Noise(torch.arange(400), 0), most).long()
    by = moved[:, :, 4, 4] - 4  # far from the rim
    assert moved.shape == (400, 2, size, size)
    assert set(by.flatten().tolist()) == {-2, -1, 0, 1, 2}
    assert len(by.unique(dim=0)) == 25
    expected = (grid[None].long() + by[:, :, None, None]).clamp(0, size - 1)
    assert torch.equal(moved, expected)


def test_settings_are_by_default_those_of_the_command_that_trains_networks():
    """The shipped networks were trained by it, and others are by `features=own`, with nothing said."""
    command = yaml.safe_load((conf_dir() / "train_features.yaml").read_text(encoding="utf-8"))
    settings = asdict(FeatureTraining())
    assert settings == {key: command[key] for key in settings}


def test_steps_are_those_of_gradient_descent_with_nesterov_momentum_and_weight_decay():
    """The first one of two with the highest learning rate, the second one with a quarter of it."""
    data = digits(limit_train=2)
    training = FeatureTraining(2, 2, lr=0.02, weight_decay=0.1, shift=0, label_smoothing=0.2, seed=3)
    found = train_network(data, training).state_dict()
    network = seeded_network(1, 8, 10, seed=3)
    momentum = {name: 0.0 for name, _ in network.named_parameters()}
    for lr in (0.02, 0.005):
        _, logits = network(data.to_batch(data.train.data))
        network.zero_grad()
        functional.cross_entropy(logits, data.train.labels, label_smoothing=0.2).backward()
        with torch.no_grad():
            for name, weight in network.named_parameters():
                gradient = weight.grad + 0.1 * weight
                momentum[name] = 0.9 * momentum[name] + gradient
                weight -= lr * (gradient + 0.9 * momentum[name])
    for name, weight in network.named_parameters():
        torch.testing.assert_close(found[name], weight.detach(), rtol=1e-5, atol=1e-5)


def test_a_batch_of_a_single_image_which_cannot_be_normalized_is_left_out(tmp_path):
    """Of a single pixel there is no spread."""
    data = ImageFolder(str(fill(tmp_path, {"cat": 9, "dog": 8})), image_size=1, workers=0)
    data.setup()
    network = train_network(data, FeatureTraining(steps=3, batch_size=len(data.train) - 1))
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


def test_without_shifts_images_are_left_alone():
    stored = torch.randint(256, (3, 1, 4, 4), dtype=torch.uint8)
    assert shifted(stored, Noise(torch.arange(3), 0), 0) is stored


def test_the_learning_rate_rises_once_and_falls_to_zero():
    values = [one_cycle(share / 100) for share in range(101)]
    assert values[0] == 0
    assert values[25] == 1 == max(values)
    assert values[100] == pytest.approx(0)
    assert values[:26] == sorted(values[:26])
    assert values[25:] == sorted(values[25:], reverse=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("batch_size", 1),
        ("shift", -1),
        ("seed", -1),
        ("lr", 0.0),
        ("weight_decay", -1.0),
        ("weight_decay", math.inf),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_key(key, value):
    with pytest.raises(ValueError, match=rf"^{key} must be"):
        FeatureTraining(**{key: value})


def test_the_edges_of_the_ranges_are_within_them():
    least = {"steps": 1, "batch_size": 2, "shift": 0, "seed": 0, "weight_decay": 0.0, "label_smoothing": 0.0}
    assert asdict(FeatureTraining(**least)).items() >= least.items()


@pytest.mark.full
def test_smoothed_labels_are_not_believed_beyond_their_share():
    """The best answer to a target of 1 − 0.5 + 0.5/10 for one class and 0.05 for the others is that target."""
    data = digits()
    sure, smooth = (
        train_network(data, FeatureTraining(steps=120, batch_size=64, shift=0, label_smoothing=share))
        for share in (0.0, 0.5)
    )
    images = data.to_batch(data.train.data[:200])
    with torch.no_grad():
        highest = [float(network(images)[1].softmax(1).amax(1).mean()) for network in (sure, smooth)]
    assert highest[1] < 0.6 < highest[0]


@pytest.mark.parametrize("lr", [math.nan, math.inf])
def test_a_learning_rate_is_a_finite_number(lr):
    with pytest.raises(ValueError, match=r"^lr must be"):
        FeatureTraining(lr=lr)


@pytest.mark.parametrize(("steps", "told"), [(4, 4), (30, 25)])
def test_a_loss_that_is_not_finite_ends_training_in_one_line(steps, told):
    """The loss is looked at every 25 steps, and at the end."""
    line = rf"^the loss of the feature network is not finite at step {told}: take a smaller lr$"
    with pytest.raises(LabError, match=line):
        train_network(digits(), FeatureTraining(steps=steps, batch_size=2, lr=1e30))


class Lines(console.Console):
    """Keeps the step and the loss of each line."""

    def __init__(self):
        super().__init__()
        self.steps, self.losses = [], []

    def event(self, name, text, /, **data):
        assert name == "step"
        assert text.startswith(f"step {data['step']}/9  loss ")
        self.steps.append(data["step"])
        self.losses.append(data["loss"])


def lines(monkeypatch, seconds):
    """Of a training of 9 steps in which each look at the clock, one every second step, finds so many seconds passed."""
    now = itertools.count(0, seconds)
    monkeypatch.setattr(feature_training, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(feature_training, "_LOOK", 2)
    with console.use(Lines()) as shown:
        train_network(digits(), FeatureTraining(steps=9, batch_size=2, lr=0.01))
    return shown


def test_there_is_a_line_every_ten_seconds_and_at_the_end_with_the_mean_loss_since_the_last_one(monkeypatch):
    often, seldom, last = (lines(monkeypatch, seconds) for seconds in (10, 5, 1))
    assert often.steps == [2, 4, 6, 8, 9]
    assert seldom.steps == [4, 8, 9]  # a line itself looks at the clock, for when the next one is due
    assert last.steps == [9]
    first, second, third, fourth, fifth = often.losses
    assert seldom.losses == pytest.approx([(first + second) / 2, (third + fourth) / 2, fifth])
    assert last.losses == pytest.approx([(2 * (first + second + third + fourth) + fifth) / 9])


class Narrowing(console.Console):
    """Shows bars, in a terminal that becomes narrower at the end of a training."""

    bar = True

    def __init__(self):
        super().__init__()
        self.width = 120

    def event(self, name, text, /, **data):
        self.width = 80


def test_there_is_a_bar_of_all_steps_where_the_console_shows_some_as_wide_as_the_terminal_is_then(capfd, monkeypatch):
    with console.use(Narrowing()) as shown:
        monkeypatch.setattr(os, "get_terminal_size", lambda _=None: os.terminal_size((shown.width, 40)))
        train_network(digits(), FeatureTraining(steps=3, batch_size=2))
    first, *_, last = capfd.readouterr().err.strip("\r\n").split("\r")
    assert "0/3" in first
    assert len(first) == 119
    assert "3/3" in last
    assert "loss " in last
    assert len(last.rstrip()) <= 79
    with console.use(console.Console()):
        train_network(digits(), FeatureTraining(steps=3, batch_size=2))
    assert capfd.readouterr().err == ""


def test_images_without_labels_are_refused_with_what_is_possible(tmp_path):
    fill(tmp_path, {".": 4})
    data = ImageFolder(str(tmp_path), image_size=8, classes=[])
    with pytest.raises(LabError, match=r"data=ImageFolder has none: take features=inception with features\.path=…, or"):
        check_trainable(data)


def test_images_of_a_single_class_are_refused_and_two_are_enough(tmp_path):
    for name, counts in (("one", {"cat": 4}), ("two", {"cat": 4, "dog": 2})):
        fill(tmp_path / name, counts)
    with pytest.raises(LabError, match="a feature network learns from labels, and data=ImageFolder has none"):
        check_trainable(ImageFolder(str(tmp_path / "one"), image_size=8))
    check_trainable(ImageFolder(str(tmp_path / "two"), image_size=8))


def test_a_single_training_image_is_refused():
    with pytest.raises(LabError, match=r"at least two training images: raise data\.limit_train"):
        train_network(digits(limit_train=1), SHORT)


def test_images_that_stay_on_disk_give_the_same_network(tmp_path):
    fill(tmp_path, {"cat": 9, "dog": 8})
    networks = []
    for in_memory in (True, False):
        data = ImageFolder(str(tmp_path), image_size=8, in_memory=in_memory, workers=0)
        networks.append(train_network(data, FeatureTraining(steps=3, batch_size=5)))
    assert isinstance(data.train.data, Stored)
    assert same(*networks)


def test_processes_that_read_images_end_with_a_training_that_fails(tmp_path):
    fill(tmp_path, {"cat": 9, "dog": 8})
    data = ImageFolder(str(tmp_path), image_size=8, in_memory=False, workers=1)
    with pytest.raises(LabError, match="is not finite at step") as caught:
        train_network(data, FeatureTraining(steps=4, batch_size=5, lr=1e30))
    assert caught.tb is not None  # which holds all that the training had
    assert multiprocessing.active_children() == []
