import os

import pytest
import torch

from diffusion_lab.metrics.extractor import Extractor
from diffusion_lab.metrics.feature_network import seeded_network


def precision():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


class Recorder(torch.nn.Module):
    """Its features are the pixels; it records in which precision it was asked to compute."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        self.autocast = torch.is_autocast_enabled("cpu")
        self.precision = precision()
        return images.flatten(1), images.flatten(1)[:, :2]


def extractor(network, shape=(1, 16, 16)):
    return Extractor("own/Digits", "0123456789abcdef" * 4, 96, 10, 0.9, shape, network)


def images(count, *shape):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def own():
    return extractor(seeded_network(1, 16, 10, seed=0).eval())


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_features_do_not_depend_on_the_batch_size(own, batch_size):
    every = images(23, 1, 16, 16)
    features, logits = own(every)
    found, scores = own(every, batch_size)
    assert features.shape == (23, 96)
    assert logits.shape == (23, 10)
    assert features.dtype == logits.dtype == torch.float32
    assert torch.allclose(found, features, atol=1e-5)
    assert torch.allclose(scores, logits, atol=1e-5)


def test_images_come_in_batches_of_the_size_asked_for_and_in_order():
    recorder = Recorder()
    every = images(10, 1, 2, 2)
    features, _ = extractor(recorder, (1, 2, 2))(every, batch_size=4)
    assert recorder.sizes == [4, 4, 2]
    assert (features - every.flatten(1)).abs().max() <= 0.5 / 127.5 + 1e-6


def test_five_hundred_images_at_a_time_are_taken_where_nothing_is_said():
    recorder = Recorder()
    extractor(recorder, (1, 1, 2))(images(501, 1, 1, 2))
    assert recorder.sizes == [500, 1]


def test_images_are_rounded_to_8_bits_and_real_ones_left_as_they_are():
    stored = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    real = (stored.float() / 127.5).sub_(1)  # as ImageDataModule.to_batch
    features, _ = extractor(Recorder())(real)
    assert torch.allclose(features, real.flatten(1), atol=1e-6)
    near, _ = extractor(Recorder())(real + 0.4 / 127.5)
    assert torch.equal(near, features)
    next_one, _ = extractor(Recorder())(real + 0.6 / 127.5)
    assert torch.allclose(next_one[:, :-1], features[:, 1:], atol=1e-6)


def test_values_outside_the_range_are_clipped():
    features, _ = extractor(Recorder(), (1, 1, 2))(torch.tensor([-3.0, 7.0]).reshape(1, 1, 1, 2))
    assert features.tolist() == [[-1, 1]]


@pytest.mark.parametrize("chosen", [("medium", True), ("high", False)])
def test_features_are_computed_in_full_float32_whatever_the_run_has_chosen(chosen):
    recorder, before = Recorder(), precision()
    try:
        torch.set_float32_matmul_precision(chosen[0])
        torch.backends.cudnn.allow_tf32 = chosen[1]
        with torch.autocast("cpu", torch.bfloat16):
            extractor(recorder)(images(2, 1, 16, 16))
            assert torch.is_autocast_enabled("cpu")
        assert precision() == chosen
        with pytest.raises(ValueError, match="not finite"):
            extractor(recorder)(images(2, 1, 16, 16) / 0)
        assert precision() == chosen
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert recorder.precision == ("highest", False)
    assert not recorder.autocast


@pytest.mark.parametrize("shape", [(0, 1, 16, 16), (2, 1, 16, 15), (2, 3, 16, 16), (1, 16, 16)])
def test_images_of_another_shape_or_none_are_refused(own, shape):
    with pytest.raises(ValueError, match=r"^features=own/Digits needs images \[N, 1, 16, 16\], got \["):
        own(torch.zeros(shape))


def test_images_that_are_no_numbers_are_refused(own):
    broken = images(2, 1, 16, 16)
    broken[1, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        own(broken)


def test_a_batch_has_at_least_one_image(own):
    with pytest.raises(ValueError, match="batch size of features must be at least 1, got 0"):
        own(images(2, 1, 16, 16), batch_size=0)


def test_the_label_has_the_name_and_the_first_digits_of_the_hash(own):
    assert own.label == "own/Digits@01234567"


def test_a_bar_is_shown_only_where_it_is_asked_for(own, capsys):
    own(images(2, 1, 16, 16))
    assert capsys.readouterr().err == ""
    own(images(3, 1, 16, 16), batch_size=1, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_a_bar_is_as_wide_as_the_terminal_is_at_the_time(capfd, monkeypatch):
    widths = [120]
    monkeypatch.setattr(os, "get_terminal_size", lambda _=None: os.terminal_size((widths[-1], 40)))

    class Narrowed(Recorder):
        def forward(self, images):
            widths.append(60)
            return super().forward(images)

    extractor(Narrowed(), (1, 2, 2))(images(3, 1, 2, 2), batch_size=1, progress=True)
    first, *_, last = capfd.readouterr().err.strip("\r\n").split("\r")
    assert "0/3" in first
    assert len(first) == 119
    assert "3/3" in last
    assert len(last.rstrip()) <= 59
