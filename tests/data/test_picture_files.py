import io

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lab.data import UnreadableItemsError
from diffusion_lab.data.picture_files import PictureFiles, square
from picture_folder import pixels


def file(picture, kind="PNG", **options):
    made = io.BytesIO()
    picture.save(made, kind, **options)
    made.seek(0)
    return made


def as_tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)


@pytest.mark.parametrize(("height", "width", "top", "left"), [(6, 9, 0, 1), (9, 6, 1, 0), (6, 6, 0, 0), (6, 8, 0, 1)])
def test_a_picture_whose_short_side_has_the_size_keeps_the_pixels_of_its_centre(height, width, top, left):
    array = pixels(0, height, width)
    assert torch.equal(square(file(Image.fromarray(array)), 6, 3), as_tensor(array[top : top + 6, left : left + 6]))


def test_a_large_picture_is_averaged_and_not_sampled():
    """A fine chequerboard becomes grey; without antialiasing it would be black and white."""
    board = (np.indices((64, 96)).sum(0) % 2 * 255).astype(np.uint8)
    small = square(file(Image.fromarray(board)), 8, 1).float()
    assert (small - 127.5).abs().max() < 4


def test_resizing_keeps_a_ramp_in_place():
    """The middle 64 of 96 columns, at one eighth: each pixel is the ramp at the middle of its eight columns."""
    ramp = np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))
    small = square(file(Image.fromarray(ramp)), 8, 1)[0].float()
    middle = 2 * (16 + 8 * torch.arange(8) + 3.5)
    assert (small[:, 1:-1] - middle[1:-1]).abs().max() <= 1
    assert torch.equal(small, small[:1].expand(8, 8))


def test_a_small_picture_is_enlarged():
    assert torch.equal(square(file(Image.new("RGB", (3, 5), (10, 20, 30))), 8, 3).unique(), torch.tensor([10, 20, 30]))


def one_colour(mode, colour):
    return Image.new(mode, (4, 4), colour)


@pytest.mark.parametrize(
    ("picture", "kind", "rgb"),
    [
        (one_colour("L", 77), "PNG", (77, 77, 77)),
        (one_colour("1", 1), "PNG", (255, 255, 255)),
        (one_colour("LA", (0, 51)), "PNG", (204, 204, 204)),
        (one_colour("RGBA", (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (one_colour("RGBA", (255, 0, 0, 255)), "WEBP", (255, 0, 0)),
        (one_colour("RGB", (200, 100, 50)).quantize(4), "GIF", (200, 100, 50)),
        (one_colour("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (one_colour("RGB", (1, 2, 3)), "BMP", (1, 2, 3)),
        (Image.fromarray(np.full((4, 4), 257 * 99, np.uint16)), "PNG", (99, 99, 99)),
        (Image.fromarray(np.full((4, 4), 257 * 99 + 128, np.uint16)), "TIFF", (99, 99, 99)),
        (Image.fromarray(np.full((4, 4), 65535, np.uint16)), "PPM", (255, 255, 255)),
    ],
)
def test_each_kind_of_pixel_becomes_rgb(picture, kind, rgb):
    found = square(file(picture, kind, **({"lossless": True} if kind == "WEBP" else {})), 4, 3)
    assert found.shape == (3, 4, 4)
    assert found.dtype == torch.uint8
    assert [band.unique().tolist() for band in found] == [[value] for value in rgb]


def test_a_transparent_colour_of_a_palette_becomes_white():
    picture = one_colour("RGB", (200, 100, 50)).quantize(4)
    picture.info["transparency"] = picture.getpixel((0, 0))
    assert square(file(picture, "PNG"), 4, 3).unique().tolist() == [255]


def test_colours_become_grey_by_their_luma():
    assert square(file(one_colour("RGB", (255, 0, 0))), 4, 1).unique().tolist() == [76]  # 0.299 · 255


def test_a_picture_is_turned_upright():
    array, exif = pixels(0, 6, 6), Image.Exif()
    exif[0x0112] = 3  # it lies upside down
    assert torch.equal(square(file(Image.fromarray(array), exif=exif), 6, 3), as_tensor(array[::-1, ::-1]))


def test_of_an_animation_the_first_frame_is_taken():
    frames = [one_colour("L", value) for value in (10, 200)]
    found = square(file(frames[0], "GIF", save_all=True, append_images=frames[1:]), 4, 1)
    assert found.unique().tolist() == [10]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no picture"),
        (b"GIF89a", ""),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),  # Ghostscript would be run
        (file(Image.fromarray(pixels(0, 40, 40)), "JPEG").getvalue()[:-300], "truncated"),
        (file(Image.fromarray(pixels(0, 40, 40))).getvalue()[:-300], "truncated"),
        (file(Image.new("F", (4, 4)), "TIFF").getvalue(), "32-bit pixels"),
        (file(Image.new("I", (4, 4)), "TIFF").getvalue(), "32-bit pixels"),
        (file(Image.new("1", (20_000, 20_000))).getvalue(), "more than 89,478,485 pixels"),
        (file(Image.new("1", (10_000, 10_000))).getvalue(), "more than 89,478,485 pixels"),
    ],
)
def test_what_is_no_sound_picture_is_named_with_the_reason(tmp_path, content, said):
    Image.fromarray(pixels(0)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(UnreadableItemsError) as caught:
        PictureFiles(tmp_path, ["good.png", "bad.jpg"], 4, 3).read()
    (line,) = caught.value.items
    assert line.startswith(f"{tmp_path / 'bad.jpg'} (")
    assert said in line
    assert "\n" not in str(caught.value)


def test_a_long_reason_is_cut_after_100_characters(tmp_path):
    """A missing file's has its own name at the end."""
    name = "a" * 200 + ".png"
    with pytest.raises(UnreadableItemsError) as caught:
        PictureFiles(tmp_path, [name], 4, 3).read()
    reason = f"[Errno 2] No such file or directory: '{tmp_path / name}'"[:100]
    assert caught.value.items == [f"{tmp_path / name} ({reason})"]


def test_metadata_that_cannot_be_read_are_passed_over_in_silence():
    """The EXIF data say that their entries are where they end."""
    array = pixels(0, 6, 6)
    broken = file(Image.fromarray(array), exif=b"Exif\0\0II*\0\x08\0\0\0")
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        Image.open(broken).getexif()
    broken.seek(0)
    assert torch.equal(square(broken, 6, 3), as_tensor(array))


def test_the_hash_is_that_of_the_file(tmp_path):
    array = pixels(0)
    Image.fromarray(array).save(tmp_path / "a.png")
    Image.fromarray(array).save(tmp_path / "b.bmp")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    files = PictureFiles(tmp_path, ["a.png", "b.bmp", "c.png"], 4, 3)
    items, hashes = files.read_with_hashes()
    assert torch.equal(items, files.read())
    assert torch.equal(items[0], items[1])
    assert hashes.shape == (3, 16)
    assert torch.equal(hashes[0], hashes[2])
    assert not torch.equal(hashes[0], hashes[1])


def test_rows_are_taken_in_the_order_asked_for(tmp_path):
    for row in range(4):
        Image.new("L", (4, 4), row).save(tmp_path / f"{row}.png")
    files = PictureFiles(tmp_path, [f"{row}.png" for row in range(4)], 4, 1)
    assert files.nbytes == 4 * 16
    assert PictureFiles(tmp_path, files.names, 4, 3).nbytes == 4 * 48
    assert files[torch.tensor([3, 0, 3])].read()[:, 0, 0, 0].tolist() == [3, 0, 3]
