"""Pictures and arrays that a person names."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lab.data import named_picture
from diffusion_lab.data.named_picture import read_array, read_picture
from diffusion_lab.data.picture_files import square
from diffusion_lab.errors import LabError


@pytest.fixture
def picture(tmp_path):
    """A function that writes a picture of 4 × 3 pixels in some mode to a file."""

    def write(name="a.png", mode="L", size=(4, 3)):
        image = Image.fromarray(np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3))
        image.convert(mode).save(tmp_path / name)
        return tmp_path / name

    return write


def test_a_grey_picture_is_read_pixel_by_pixel(picture):
    path = picture()
    read = read_picture(path, (1, 3, 4), "image")
    assert (read.dtype, read.shape) == (torch.uint8, (1, 3, 4))
    assert torch.equal(read[0], torch.from_numpy(np.asarray(Image.open(path)).copy()))


def test_colour_is_kept_or_made_grey(picture):
    colour = read_picture(picture(mode="RGB"), (3, 3, 4), "image")
    assert torch.equal(colour, torch.arange(36, dtype=torch.uint8).reshape(3, 4, 3).permute(2, 0, 1))
    assert read_picture(picture(mode="RGBA"), (3, 3, 4), "image").equal(colour)
    assert read_picture(picture(mode="RGB"), (1, 3, 4), "image").shape == (1, 3, 4)
    assert read_picture(picture("a.jpg", "L"), (3, 3, 4), "image").shape == (3, 3, 4)


def test_a_picture_is_read_as_those_to_train_on(tmp_path):
    """Upright, in 8 bits and laid on white, as `picture_files.square` says."""
    corner = Image.new("L", (6, 6))
    corner.paste(255, (0, 0, 3, 3))
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    pictures = {
        "turned.png": (corner, {"exif": upside_down}),
        "deep.png": (Image.fromarray(np.full((6, 6), 257 * 100, np.uint16)), {}),
        "clear.png": (Image.new("RGBA", (6, 6), (0, 0, 0, 51)), {}),
    }
    for name, (made, options) in pictures.items():
        made.save(tmp_path / name, **options)
        for channels in (1, 3):
            with (tmp_path / name).open("rb") as file:
                expected = square(file, 6, channels)
            assert torch.equal(read_picture(tmp_path / name, (channels, 6, 6), "image"), expected), name
    assert read_picture(tmp_path / "turned.png", (1, 6, 6), "image")[0, 5, 5] == 255
    assert read_picture(tmp_path / "deep.png", (1, 6, 6), "image").unique().tolist() == [100]
    assert read_picture(tmp_path / "clear.png", (1, 6, 6), "image").unique().tolist() == [204]


def test_a_picture_that_has_another_size_when_it_is_turned_is_refused(tmp_path):
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.new("L", (4, 3)).save(tmp_path / "a.png", exif=lying)
    with pytest.raises(LabError, match="it has 3×4 pixels, and the run's images have 4×3"):
        read_picture(tmp_path / "a.png", (1, 3, 4), "image")


def test_another_size_is_refused_before_a_pixel_is_decoded(picture, monkeypatch):
    path = picture(size=(5, 3))
    monkeypatch.setattr(Image.Image, "convert", lambda *a: pytest.fail("decoded"))
    with pytest.raises(LabError, match=r"image=.*a\.png: it has 5×3 pixels, and the run's images have 4×3"):
        read_picture(path, (1, 3, 4), "image")


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(99), b"\x89PNG\r\n\x1a\n" + bytes(40), b"%!PS-Adobe-3.0\n"])
def test_what_is_no_png_or_jpeg_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(LabError, match=r"image=.*a\.png: it cannot be read as a PNG or JPEG picture"):
        read_picture(tmp_path / "a.png", (1, 3, 4), "image")


def test_a_picture_that_is_cut_off_is_refused(picture):
    path = picture()
    path.write_bytes(path.read_bytes()[:48])
    with pytest.raises(LabError, match="it cannot be read"):
        read_picture(path, (1, 3, 4), "image")


def test_missing_and_huge_files_are_refused(tmp_path, picture, monkeypatch):
    with pytest.raises(LabError, match=r"image=.*no\.png: there is no such file"):
        read_picture(tmp_path / "no.png", (1, 3, 4), "image")
    with pytest.raises(LabError, match="there is no such file"):
        read_picture(tmp_path, (1, 3, 4), "image")
    monkeypatch.setattr(named_picture, "_LARGEST", 10)
    with pytest.raises(LabError, match=r"bytes, and such files may have 10"):
        read_picture(picture(), (1, 3, 4), "image")


def test_an_array_of_the_shape_is_read_with_or_without_a_first_axis(tmp_path):
    array = np.linspace(-1, 1, 12).reshape(1, 3, 4)
    for stored in (array, array[None], array.astype(">f8")):
        np.save(tmp_path / "a.npy", stored)
        assert np.array_equal(read_array(tmp_path / "a.npy", (1, 3, 4), "image"), array)


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4)), np.zeros(12), np.array([{}]), np.zeros((1, 3, 4), "c16")])
def test_other_arrays_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(LabError, match=r"image=.*a\.npy: (its shape is|it cannot be read)"):
        read_array(tmp_path / "a.npy", (1, 3, 4), "image")


def test_an_archive_of_arrays_is_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, np.zeros((1, 3, 4)))
    with pytest.raises(LabError, match="it holds no array"):
        read_array(tmp_path / "a.npy", (1, 3, 4), "image")


def test_an_array_whose_head_promises_more_than_there_is_is_refused(tmp_path):
    """Nothing of it is read: no memory has room for it."""
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**57,)})
        file.write(bytes(64))
    with pytest.raises(LabError, match=r"image=.*a\.npy: it cannot be read as a NumPy file"):
        read_array(tmp_path / "a.npy", (1, 3, 4), "image")


@pytest.mark.parametrize(("read", "kind"), [(read_picture, "PNG or JPEG picture"), (read_array, "NumPy file")])
def test_a_long_reason_is_cut_after_150_characters(tmp_path, read, kind, monkeypatch):
    def fails(*arguments, **named):
        raise ValueError("no  picture\n" + "x" * 200)

    path = tmp_path / "a"
    path.write_bytes(b"no picture")
    monkeypatch.setattr(np, "load", fails)
    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(LabError) as caught:
        read(path, (1, 3, 4), "image")
    assert str(caught.value) == f"image={path}: it cannot be read as a {kind} (no picture {'x' * 139})"


def test_a_file_of_just_the_most_bytes_is_read(picture, monkeypatch):
    path = picture()
    monkeypatch.setattr(named_picture, "_LARGEST", path.stat().st_size)
    assert read_picture(path, (1, 3, 4), "image").shape == (1, 3, 4)


@pytest.mark.parametrize(
    ("size", "said"), [(2**26, "it cannot be read"), (2**26 + 1, "such files may have 67,108,864")]
)
def test_a_file_of_more_than_64_mebibytes_is_not_opened(tmp_path, size, said):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(size)  # which takes no room
    for read in (read_picture, read_array):
        with pytest.raises(LabError, match=said):
            read(tmp_path / "a", (1, 3, 4), "image")
