import torch

from diffusion_lab.codecs import Pixels


def test_pixels_are_their_own_code():
    x = torch.linspace(-1, 1, 8).reshape(2, 1, 2, 2)
    assert torch.equal(Pixels().encode(x), x)
    assert torch.equal(Pixels().decode(Pixels().encode(x)), x)


def test_what_is_no_image_is_clipped():
    z = torch.tensor([[[[-3.0, -1.0, 0.2, 1.5]]]])
    assert torch.equal(Pixels().decode(z), torch.tensor([[[[-1.0, -1.0, 0.2, 1.0]]]]))
