import pytest
import torch
from safetensors.torch import save

from diffusion_lab.metrics.feature_network import FeatureNetwork, count_correct, seeded_network


def images(count, *shape):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "halved"), [(1, 1), (7, 7), (8, 8), (9, 5), (16, 8), (17, 5), (28, 7), (32, 8), (33, 5), (64, 8), (150, 5)]
)
def test_images_of_any_size_have_96_features_and_are_halved_until_their_maps_are_at_most_8_wide(channels, size, halved):
    network = FeatureNetwork(channels, size, 7).eval()
    features, logits = network(images(2, channels, size, size))
    assert features.shape == (2, 96)
    assert logits.shape == (2, 7)
    assert torch.equal(logits, network.head(features))
    assert network.body(images(1, channels, size, size)).shape == (1, 96, halved, halved)


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 10), (3, 64, 10), (3, 256, 100)])
def test_the_weights_take_less_than_a_megabyte(channels, size, classes):
    assert len(save(FeatureNetwork(channels, size, classes).state_dict())) < 1_000_000


def test_an_image_has_the_same_features_beside_any_others():
    network = seeded_network(1, 16, 10, seed=0).eval()
    batch = images(33, 1, 16, 16)
    features, logits = network(batch)
    for part in (batch[5:6], batch[4:9]):
        found, scores = network(part)
        offset = 1 if len(part) > 1 else 0
        assert torch.allclose(found[offset], features[5], atol=1e-5)
        assert torch.allclose(scores[offset], logits[5], atol=1e-5)


def test_the_initial_weights_follow_from_the_seed_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, same, other = (seeded_network(1, 8, 3, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize("shape", [(2, 1, 15, 16), (2, 3, 16, 16), (1, 16, 16)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images must be \[N, 1, 16, 16\]"):
        FeatureNetwork(1, 16, 10)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("sizes", "name"), [((0, 8, 2), "in_channels"), ((1, 0, 2), "image_size"), ((1, 8, 1), "num_classes")]
)
def test_sizes_that_cannot_be_are_named(sizes, name):
    with pytest.raises(ValueError, match=f"needs {name} of at least"):
        FeatureNetwork(*sizes)


def test_right_answers_are_counted():
    logits = torch.tensor([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0]])
    assert count_correct(logits, torch.tensor([0, 1, 1])) == 2
