import pytest
import torch

from diffusion_lab.data import Digits


def ready(**options):
    data = Digits(**options)
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture(scope="module")
def digits():
    return ready()


@pytest.fixture(scope="module")
def class_sizes():
    from sklearn.datasets import load_digits

    return torch.bincount(torch.from_numpy(load_digits().target))


def splits(data):
    return data.train, data.val, data.test


def counts(split):
    return torch.bincount(split.labels, minlength=10)


def test_the_splits_are_80_10_and_10_percent_of_all_images(digits):
    sizes = [len(split) for split in splits(digits)]
    assert sum(sizes) == 1797
    assert [round(100 * size / 1797) for size in sizes] == [80, 10, 10]


def test_every_class_has_its_share_of_every_split_and_no_image_is_lost(digits, class_sizes):
    train, val, test = map(counts, splits(digits))
    assert torch.equal(train + val + test, class_sizes)
    for held_out in (val, test):
        assert (held_out - class_sizes / 10).abs().max() <= 0.5


def test_the_splits_together_are_the_images_of_scikit_learn_and_none_twice(digits, class_sizes):
    """The bundled images are all different before they are upsampled, and remain so."""
    images = torch.cat([split.data for split in splits(digits)]).flatten(1)
    assert len(images.unique(dim=0)) == 1797


def test_images_are_uint8_of_the_full_range_and_labels_int64(digits):
    for split in splits(digits):
        assert split.data.shape == (len(split), 1, 16, 16)
        assert split.data.dtype == torch.uint8
        assert (int(split.data.min()), int(split.data.max())) == (0, 255)
        assert split.labels.dtype == torch.int64
    normalized, labels = digits.split("val", 3)
    assert torch.equal(normalized, digits.val.data[:3].float() / 127.5 - 1)
    assert torch.equal(labels, digits.val.labels[:3])


def test_labels_belong_to_their_images(digits):
    """At 8×8 nothing is interpolated, so the images are scikit-learn's own."""
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    label_of = {tuple(row.astype(int)): label for row, label in zip(pixels, target, strict=True)}
    data = ready(image_size=8)
    for split in splits(data):
        sixteenths = (split.data.flatten(1).float() * 16 / 255).round().int().tolist()
        assert [label_of[tuple(row)] for row in sixteenths] == split.labels.tolist()


def test_classes_are_mixed_within_a_split(digits):
    for split in splits(digits):
        assert len(split.labels[:64].unique()) == 10


def test_the_splits_follow_from_split_seed_alone(digits):
    prints = digits.fingerprint()
    assert ready(seed=3, batch_size=7).fingerprint() == prints
    other = ready(split_seed=1).fingerprint()
    assert all(other[name] != prints[name] for name in ("train", "val", "test"))


@pytest.mark.parametrize("size", [8, 12, 28])
def test_images_have_the_size_asked_for(size):
    data = ready(image_size=size)
    assert data.train.data.shape[1:] == (1, size, size)
    assert data.image_size == size


@pytest.mark.parametrize("size", [7, 0, -16, 257])
def test_an_image_size_out_of_range_is_refused(size):
    with pytest.raises(ValueError, match=rf"^data\.image_size must lie between 8 and 256, got {size}$"):
        Digits(image_size=size)


@pytest.mark.parametrize(("limit", "count"), [(32, 32), (10_000, None)])
def test_limit_train_keeps_the_first_images_and_leaves_the_rest_alone(digits, limit, count):
    limited = ready(limit_train=limit)
    assert torch.equal(limited.train.data, digits.train.data[:count])
    assert torch.equal(limited.train.labels, digits.train.labels[:count])
    assert torch.equal(limited.val.data, digits.val.data)
