import pytest
import torch

from diffusion_lab.data import MNIST, Digits, ImageFolder, UnknownImages
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise


def test_bytes_become_exactly_u_over_127_point_5_minus_1_in_float32():
    stored = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    batch = Digits().to_batch(stored)
    assert batch.dtype == torch.float32
    assert torch.equal(batch.flatten(), torch.arange(256).float() / 127.5 - 1)
    assert batch.flatten()[[0, 255]].tolist() == [-1, 1]
    assert stored.flatten().tolist() == list(range(256))


def test_what_the_data_provides_is_known_before_it_is_read():
    digits = Digits(image_size=12)
    assert digits.shape == (1, 12, 12)
    assert digits.provides() == {"channels": 1, "image_size": 12}
    assert digits.example().shape == (1, 1, 12, 12)
    assert digits.example().dtype == torch.float32
    assert (digits.item, digits.num_classes, digits.train) == ("image", 10, None)


@pytest.mark.parametrize(
    "make", [Digits, UnknownImages, lambda: MNIST("nowhere"), lambda: ImageFolder("nowhere", classes=[])]
)
def test_no_image_is_mirrored_where_nothing_is_said(make):
    stored = torch.arange(64 * 6, dtype=torch.int64).reshape(64, 1, 2, 3)
    assert torch.equal(make().augment(stored, Noise(torch.arange(64), 0, "augment", 0)), stored)


def test_an_image_is_mirrored_by_a_coin_at_an_address_of_its_own():
    stored = torch.arange(64 * 6, dtype=torch.int64).reshape(64, 1, 2, 3)
    noise = Noise(torch.arange(64), 0, "augment", 0)
    coins = (noise.at("flip").uniform() < 0.5).tolist()
    expected = torch.stack([row.flip(-1) if coin else row for row, coin in zip(stored, coins, strict=True)])
    assert torch.equal(MNIST("nowhere", flip=True).augment(stored, noise), expected)


@pytest.mark.parametrize("key", ["channels", "image_size", "num_classes"])
def test_images_that_are_unknown_have_a_shape_and_nothing_else(key):
    data = UnknownImages(channels=1, image_size=1, num_classes=1)
    assert (data.shape, data.num_classes, UnknownImages().num_classes) == ((1, 1, 1), 1, None)
    with pytest.raises(LabError, match="the images of this model are not here"):
        data.prepare_data()
    with pytest.raises(ValueError, match=rf"data\.{key} must be 1 or more, got 0"):
        UnknownImages(**{key: 0})
