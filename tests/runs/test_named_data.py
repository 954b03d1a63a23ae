"""Data and masks that a person names."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lab.data import Digits
from diffusion_lab.errors import LabError
from diffusion_lab.runs.named_data import data_hash, named_data, named_mask


@pytest.fixture(scope="module")
def digits():
    return Digits(image_size=8)


def test_an_item_of_a_split_comes_with_its_label(digits):
    items, labels = digits.split("val")
    for text, number in (("val:0", 0), ("val:3", 3)):
        named = named_data(text, digits, "inpaint.image")
        assert torch.equal(named.items, items[number : number + 1])
        assert named.labels.tolist() == [int(labels[number])]
    assert not torch.equal(named_data("test:3", digits, "x").items, named_data("val:3", digits, "x").items)


def test_the_first_items_of_a_split_come_with_their_labels(digits):
    items, labels = digits.split("test", 5)
    named = named_data("test", digits, "invert", 5)
    assert torch.equal(named.items, items)
    assert torch.equal(named.labels, labels)


def test_a_picture_is_read_as_the_data_is(digits, tmp_path):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    named = named_data(str(tmp_path / "a.png"), digits, "invert", 5)
    assert torch.equal(named.items, digits.to_batch(torch.from_numpy(pixels)[None, None]))
    assert named.labels is None


def test_an_array_is_read_as_it_is(digits, tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(-1, 1, 64).reshape(1, 8, 8))
    named = named_data(str(tmp_path / "a.npy"), digits, "invert", 5)
    assert named.items.dtype == torch.float32
    assert torch.allclose(named.items.flatten(), torch.linspace(-1, 1, 64))


@pytest.mark.parametrize("kind", ["bool", "uint16", "uint64", "int8", "float16", ">f8"])
def test_an_array_of_any_kind_of_numbers_is_read(digits, tmp_path, kind):
    np.save(tmp_path / "a.npy", (np.arange(64).reshape(1, 8, 8) % 2).astype(kind))
    named = named_data(str(tmp_path / "a.npy"), digits, "invert", 5)
    assert torch.equal(named.items.flatten(), torch.arange(64).remainder(2).float())
    assert torch.equal(named_mask(str(tmp_path / "a.npy"), digits, "mask"), named.items[0].bool())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("val:9999", r"inpaint\.image=val:9999: the split val has 17\d items, so it has no number 9999"),
        ("vall:3", r"inpaint\.image=vall:3: there is no such file; give test:3 \(an item of a split\), or the path"),
        ("val", r"inpaint\.image=val: there is no such file; give test:3"),
        ("no.png", r"inpaint\.image=no\.png: there is no such file"),
        ("true", r"inpaint\.image=true: there is no such file"),
    ],
)
def test_what_does_not_exist_is_refused(digits, text, says):
    with pytest.raises(LabError, match=says):
        named_data(text, digits, "inpaint.image")


def test_a_split_that_is_too_small_is_refused(digits):
    with pytest.raises(LabError, match=r"invert=val: the split val has .* items, so num_samples=1000 are too many"):
        named_data("val", digits, "invert", 1000)


@pytest.mark.parametrize("values", [np.full((1, 8, 8), 255.0), np.full((1, 8, 8), np.nan)])
def test_numbers_out_of_range_are_refused(digits, tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(LabError, match=r"invert=.*a\.npy: its values must lie between −1 and 1"):
        named_data(str(tmp_path / "a.npy"), digits, "invert", 1)


def test_named_masks(digits):
    half, box = named_mask("half", digits, "m"), named_mask("box", digits, "m")
    assert half.shape == box.shape == (1, 8, 8)
    assert not half[..., :4].any()
    assert half[..., 4:].all()
    assert box[0, 2:6, 2:6].all()
    assert int(box.sum()) == 16


def test_a_picture_is_a_mask_that_is_white_where_data_is_unknown(digits, tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0, :4] = (127, 128, 200, 255)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "m.png")
    mask = named_mask(str(tmp_path / "m.png"), digits, "m")
    assert mask.nonzero().tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 3]]
    np.save(tmp_path / "m.npy", pixels[None] > 128)
    assert named_mask(str(tmp_path / "m.npy"), digits, "m").nonzero().tolist() == [[0, 0, 2], [0, 0, 3]]


@pytest.mark.parametrize(("value", "says"), [(255, "all of it is unknown"), (0, "all of it is known")])
def test_a_mask_must_leave_something_of_both(digits, tmp_path, value, says):
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(LabError, match=rf"inpaint\.mask=.*m\.png: {says}"):
        named_mask(str(tmp_path / "m.png"), digits, "inpaint.mask")


def test_a_mask_that_does_not_exist_or_fit_is_refused(digits, tmp_path):
    with pytest.raises(LabError, match=r"inpaint\.mask=halff: there is no such file; give half or box, or a path"):
        named_mask("halff", digits, "inpaint.mask")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(LabError, match="8×9 pixels, and the run's images have 8×8"):
        named_mask(str(tmp_path / "m.png"), digits, "inpaint.mask")


def test_a_hash_says_whether_data_is_the_same():
    a, b = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    assert data_hash(a) == data_hash(b)
    b[0, 0, 0] = 1
    assert data_hash(a) != data_hash(b)
