"""Sheets of samples, and files that hold no images."""

import io

import numpy as np
import pytest
from PIL import Image

from diffusion_lab.catalogue.comparison.sample_sheets import MAX_SIDE, as_pixels, sample_sheet, stored_images


def sheet(tmp_path, array):
    np.save(tmp_path / "final.npy", array)
    picture = sample_sheet(tmp_path / "final.npy")
    return None if picture is None else np.asarray(Image.open(io.BytesIO(picture)))


def test_samples_are_laid_out_row_by_row_with_transparent_gaps(tmp_path):
    images = np.linspace(-1, 1, 5, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 20, 20), np.float32)
    found = sheet(tmp_path, images)  # 3 columns, 2 rows; 62 × 41 pixels, and each of them 5 × 5
    assert found.shape == (5 * 41, 5 * 62, 2)
    places = [found[5 * (10 + 21 * (i // 3)), 5 * (10 + 21 * (i % 3))].tolist() for i in range(6)]
    assert places == [[0, 255], [64, 255], [128, 255], [191, 255], [255, 255], [0, 0]]
    assert found[:, 5 * 20, 1].max() == 0


def test_pixels_are_whole_numbers_with_the_channels_last():
    images = np.array([-1.5, -1.0, -0.004, 0.0, 0.5, np.nan, 1.0, np.inf], np.float64).reshape(1, 2, 2, 2)
    pixels = as_pixels(images)
    assert pixels.dtype == np.uint8
    assert pixels.transpose(0, 3, 1, 2).flatten().tolist() == [0, 0, 127, 128, 191, 128, 255, 255]


def test_stored_images_are_read_as_they_are_and_cannot_be_changed(tmp_path):
    array = np.linspace(-1, 1, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    np.save(tmp_path / "final.npy", array)
    content = (tmp_path / "final.npy").read_bytes()
    found = stored_images(tmp_path / "final.npy")
    assert np.array_equal(found, array)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0.0
    del found
    assert (tmp_path / "final.npy").read_bytes() == content


def test_at_most_36_samples_are_shown(tmp_path):
    images = np.zeros((100, 1, 8, 8), np.float32)
    images[36:] = 1.0
    found = sheet(tmp_path, images)
    assert found[..., 0].max() == 128


def test_colours_and_values_outside_the_range(tmp_path):
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[0, 0], image[0, 1, 0, 0], image[0, 2] = 7.0, np.nan, -7.0
    assert sheet(tmp_path, image)[0, 0].tolist() == [255, 128, 0, 255]


def test_large_images_make_no_large_picture(tmp_path):
    found = sheet(tmp_path, np.random.default_rng(0).uniform(-1, 1, (9, 3, 700, 500)).astype(np.float32))
    assert max(found.shape[:2]) <= MAX_SIDE
    assert (tmp_path / "final.npy").stat().st_size > 30e6
    assert len(sample_sheet(tmp_path / "final.npy")) < 400_000


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 8, 8), np.float32), np.zeros((0, 1, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.float32),
        np.zeros((1, 1, 8, 8), np.int64), np.array([["a"]]), np.zeros((1, 1, 1, 6000), np.float32),
        np.float32(3), np.zeros((1, 1, 8, 8), np.complex64),
    ],
)  # fmt: skip
def test_an_array_that_holds_no_images_is_left_out(tmp_path, array):
    assert sheet(tmp_path, array) is None


class Trap:
    def __reduce__(self):
        return print, ("this must not be called",)


def test_a_pickle_is_not_loaded(tmp_path, capsys):
    np.save(tmp_path / "final.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert sample_sheet(tmp_path / "final.npy") is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"x", b"\x93NUMPY", b"PK\x03\x04", b"\x80\x04K\x01."])
def test_a_file_that_is_not_an_array_is_left_out(tmp_path, content):
    (tmp_path / "final.npy").write_bytes(content)
    assert sample_sheet(tmp_path / "final.npy") is None


def test_a_header_with_a_shape_larger_than_the_file_is_left_out(tmp_path):
    np.save(tmp_path / "final.npy", np.zeros((1, 1, 8, 8), np.float32))
    content = (tmp_path / "final.npy").read_bytes().replace(b"(1, 1, 8, 8)", b"(9999999999999, 1, 8, 8)")
    (tmp_path / "final.npy").write_bytes(content)
    assert sample_sheet(tmp_path / "final.npy") is None


def test_a_missing_file_is_left_out(tmp_path):
    assert sample_sheet(tmp_path / "final.npy") is None
