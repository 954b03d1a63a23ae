import torch

from diffusion_lab.data import Digits


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
