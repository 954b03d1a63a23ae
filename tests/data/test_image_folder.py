import os
import shutil
from itertools import islice

import pytest
import torch
from PIL import Image

from diffusion_lab.data import ImageFolder, Loader, Stored, UnreadableItemsError
from diffusion_lab.data import base as data_base
from diffusion_lab.data.loader import permutation
from diffusion_lab.errors import LabError
from picture_folder import fill, pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of 12 and 11 pictures, with files among them that are none."""
    folder = fill(tmp_path_factory.mktemp("pictures"), {"dog": 12, "cat": 11})
    (folder / "cat" / "notes.txt").write_text("no picture")
    (folder / "cat" / ".hidden.png").write_bytes(b"no picture")
    (folder / ".thumbnails").mkdir()
    (folder / "README.md").write_text("no picture")
    return folder


def ready(folder, **options):
    data = ImageFolder(str(folder), **{"image_size": 6, "workers": 0, "validation": 5, **options})
    data.prepare_data()
    return data


def batches(data, epochs=2, place=None, count=None, **options):
    """The training batches as the data module makes them."""
    loader = Loader(
        data.train.data, data.train.labels, 5, True, data.seed, to_batch=data.to_batch, augment=data.augment,
        workers=data.workers, **options,
    )  # fmt: skip
    if place is not None:
        loader.load_state_dict(place)
    try:
        return list(islice((batch for _ in range(epochs) for batch in loader), count))
    finally:
        loader.close()


def equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.x, b.x) and torch.equal(a.label, b.label) and torch.equal(a.row, b.row)
        and (a.epoch, a.index, a.size) == (b.epoch, b.index, b.size)
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip


def test_subfolders_by_name_are_the_classes(folder):
    data = ready(folder)
    assert (data.classes, data.num_classes, data.shape) == (["cat", "dog"], 2, (3, 6, 6))
    assert data.found() == {"path": str(folder), "classes": ["cat", "dog"]}
    assert [len(split) for split in (data.train, data.val, data.test)] == [18, 5, 5]
    assert data.test is data.val
    labels = torch.cat([data.train.labels, data.val.labels])
    assert labels.bincount().tolist() == [11, 12]
    known = {tuple(image.flatten().tolist()): 0 for image in ready(folder, classes=["cat"], validation=1).train.data}
    assert {known.get(tuple(image.flatten().tolist()), 1) for image in data.train.data[data.train.labels == 1]} == {1}


def test_the_first_images_are_of_all_classes(folder):
    assert len(ready(folder, limit_train=6).train.labels.unique()) == 2


def test_classes_can_be_chosen_and_have_their_order(folder):
    data = ready(folder, classes=["dog", "cat"])
    assert torch.cat([data.train.labels, data.val.labels]).bincount().tolist() == [12, 11]
    assert ready(folder, classes=["dog"], validation=1).num_classes == 1


def test_classes_that_are_numbers_may_be_typed_as_numbers(tmp_path):
    data = ready(fill(tmp_path / "numbers", {"7": 8, "10": 8}), classes=[7, 10])
    assert data.found()["classes"] == ["7", "10"]
    assert data.num_classes == 2


def test_without_classes_all_pictures_at_any_depth_are_read(folder, tmp_path):
    data = ready(folder, classes=[])
    assert (data.num_classes, data.train.labels, len(data.train) + len(data.val)) == (None, None, 23)
    flat = ready(fill(tmp_path, {".": 4}), validation=1)
    assert (flat.classes, flat.num_classes, flat.train.labels, len(flat.train)) == ([], None, None, 3)


def test_a_link_to_a_folder_above_is_not_followed_for_ever(tmp_path):
    fill(tmp_path, {"a/b": 3})
    (tmp_path / "a" / "b" / "top").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert len(ready(tmp_path, validation=1).train) == 2


def test_the_pictures_held_out_follow_from_split_seed_alone(folder):
    first = ready(folder).fingerprint()
    assert ready(folder, seed=7, batch_size=3).fingerprint() == first
    assert ready(folder, split_seed=1).fingerprint() != first
    assert len(ready(folder, validation=0.2).val) == 5
    assert len(ready(folder, validation=0.001).val) == 1


def test_the_fingerprint_is_that_of_the_files_wherever_they_lie_and_however_they_are_read(folder, tmp_path):
    first = ready(folder).fingerprint()
    again = fill(tmp_path, {"dog": 12, "cat": 11})
    for options in ({"in_memory": False}, {"in_memory": False, "workers": 2}, {"image_size": 8}):
        assert ready(again, **options).fingerprint() == first
    Image.fromarray(pixels(99)).save(again / "cat" / "003.png")
    assert ready(again).fingerprint() != first


def test_files_are_read_once_for_the_fingerprint(folder, tmp_path):
    data = ready(shutil.copytree(folder, tmp_path / "copy"), in_memory=False)
    shutil.rmtree(tmp_path / "copy")
    assert data.fingerprint() == ready(folder, in_memory=False).fingerprint()


def test_limit_train_keeps_the_first_and_leaves_validation_alone(folder):
    every, few = ready(folder), ready(folder, limit_train=4)
    assert torch.equal(few.train.data, every.train.data[:4])
    assert few.fingerprint()["val"] == every.fingerprint()["val"]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_images_on_disk_give_the_batches_of_images_in_memory(folder, workers):
    held = ready(folder, flip=True, in_memory=True)
    disk = ready(folder, flip=True, in_memory=False, workers=workers)
    assert isinstance(held.train.data, torch.Tensor)
    assert held.train.data.dtype == torch.uint8
    assert isinstance(disk.train.data, Stored)
    for options in ({}, {"rank": 1, "ranks": 2, "micro_batches": 2}):
        assert equal(batches(held, **options), batches(disk, **options))
    for name in ("train", "val", "test"):
        for one, other in zip(held.split(name, 4), disk.split(name, 4), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_loader_reads_what_remains_and_nothing_else(folder, tmp_path, workers):
    """The pictures of the batches before are not there any more, and are not missed."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    data = ready(copy, flip=True, in_memory=False, workers=workers)
    whole = batches(data)
    for row in permutation(len(data.train), data.seed, "epoch", 0)[:10].tolist():
        (copy / data.train.data.names[row]).unlink()
    assert equal(batches(data, epochs=1, place={"epoch": 0, "yielded": 2}), whole[2:4])
    with pytest.raises(UnreadableItemsError):
        batches(data, epochs=1, place={"epoch": 0, "yielded": 1})


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_cut_short_is_followed_by_the_next(folder, workers):
    data = ready(folder, flip=True, in_memory=False, workers=workers)
    loader = Loader(data.train.data, data.train.labels, 5, True, to_batch=data.to_batch, workers=workers)
    whole = Loader(data.train.read(), data.train.labels, 5, True, to_batch=data.to_batch)
    try:
        found = [batch for _ in range(3) for batch in islice(loader, 2)]
    finally:
        loader.close()
    assert equal(found, [batch for _ in range(3) for batch in islice(whole, 2)])
    assert [batch.epoch for batch in found] == [0, 0, 1, 1, 2, 2]


def test_half_of_the_training_images_are_mirrored_at_random_in_each_epoch(folder):
    plain, flipped = ready(folder), ready(folder, flip=True)
    kept = []
    for one, other in zip(batches(plain, epochs=4), batches(flipped, epochs=4), strict=True):
        for a, b in zip(one.x, other.x, strict=True):
            assert torch.equal(a, b) or torch.equal(a.flip(-1), b)
            kept.append(torch.equal(a, b))
    assert 0.3 < sum(kept) / len(kept) < 0.7
    assert equal(batches(flipped), batches(ready(folder, flip=True)))
    assert not equal(batches(flipped), batches(ready(folder, flip=True, seed=1)))
    for one, other in ((plain, flipped), (flipped, plain)):
        assert torch.equal(one.split("train")[0], other.split("train")[0])


def test_an_image_is_mirrored_alike_in_any_batch(folder):
    data = ready(folder, flip=True)
    whole = {tuple(batch.x[0].flatten().tolist()) for batch in batches(data, epochs=1)}
    parts = [image for rank in range(2) for batch in batches(data, epochs=1, rank=rank, ranks=2) for image in batch.x]
    assert whole <= {tuple(image.flatten().tolist()) for image in parts}


@pytest.mark.parametrize(("available", "held"), [(10**9, True), (18 * 108 * 4, False)])
def test_auto_reads_images_into_memory_if_they_take_a_quarter_of_it_at_most(folder, monkeypatch, available, held):
    monkeypatch.setattr(data_base, "available_memory", lambda: available)
    assert isinstance(ready(folder).train.data, torch.Tensor) == held
    assert isinstance(ready(folder, in_memory=True).train.data, torch.Tensor)


def test_each_process_of_a_machine_holds_a_copy(folder, monkeypatch):
    monkeypatch.setattr(data_base, "available_memory", lambda: 23 * 108 * 4)
    for processes, held in ((1, True), (2, False)):
        data = ImageFolder(str(folder), image_size=6, validation=5, workers=0)
        data.processes = processes
        data.setup()
        assert isinstance(data.train.data, torch.Tensor) == held


@pytest.mark.parametrize(("in_memory", "workers"), [(True, 0), (True, 2), (False, 0), (False, 2)])
def test_broken_pictures_are_named_and_counted_before_training(tmp_path, in_memory, workers):
    names = ready(fill(tmp_path, {"a": 9}), in_memory=False, validation=1).train.data.names
    for name in names[:5]:
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(LabError) as caught:
        ready(tmp_path, in_memory=in_memory, workers=workers, validation=1)
    line = str(caught.value)
    assert line.startswith("5 of 8 items of the data cannot be read: ")
    assert line.count("(it is no picture)") == 3
    assert line.endswith(" and 2 more; mend or remove them")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_breaks_during_training_is_named(folder, tmp_path, workers):
    fill(tmp_path, {"a": 10})
    data = ready(tmp_path, in_memory=False, workers=workers, validation=1)
    path = tmp_path / data.train.data.names[7]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UnreadableItemsError, match="cannot be read any more") as caught:
        batches(data)
    assert f"{path} (" in str(caught.value)
    assert "\n" not in str(caught.value)


def make_nothing(folder):
    pass


def make_text(folder):
    folder.mkdir()
    (folder / "a.txt").write_text("x")


def make_empty_class(folder):
    fill(folder, {"a": 2})
    (folder / "b").mkdir()


def make_loose(folder):
    fill(folder, {"a": 2, ".": 2})


def make_file(folder):
    folder.write_text("x")


def make_one(folder):
    fill(folder, {".": 1})


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (make_nothing, {}, "there is no such folder"),
        (make_nothing, {"classes": []}, "there is no such folder"),
        (make_nothing, {"classes": ["a"]}, "there is no such folder"),
        (make_file, {}, "cannot read the folder: Not a directory"),
        (make_text, {}, r"no picture is in it or below \(\.bmp .*\.webp\)"),
        (make_empty_class, {}, "no picture is in its subfolder b, which is a class"),
        (make_empty_class, {"classes": ["a", "c"]}, "no picture is in its subfolder c, which is a class"),
        (make_loose, {}, "000.png and 1 other pictures lie beside its subfolders"),
        (make_one, {"validation": 1}, "data.validation=1: .* has 1 pictures in all"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(tmp_path, make, options, said):
    make(tmp_path / "pictures")
    with pytest.raises(LabError, match=said) as caught:
        ready(tmp_path / "pictures", **options)
    assert str(tmp_path / "pictures") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_names_of_classes_are_enough_where_the_folder_is_not():
    """As for a run that is sampled from on another machine."""
    data = ImageFolder("/not/here", classes=["a", "b"])
    assert (data.num_classes, data.shape) == (2, (3, 64, 64))


def test_thousands_of_subfolders_are_no_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("diffusion_lab.data.image_folder._MOST_CLASSES", 2)
    with pytest.raises(LabError, match=r"it has 3 subfolders, .*data\.classes=\[\]"):
        ImageFolder(str(fill(tmp_path, {"a": 1, "b": 1, "c": 1})))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_size": 0}, "data.image_size must lie between 1 and 2048, got 0"),
        ({"image_size": 2049}, "data.image_size must lie between 1 and 2048, got 2049"),
        ({"validation": 0}, "data.validation must be a number of images"),
        ({"validation": 1.0}, "data.validation must be a number of images"),
        ({"validation": 1.5}, "data.validation must be a number of images"),
        ({"validation": -0.1}, "data.validation must be a number of images"),
        ({"workers": -1}, "data.workers must not be negative, got -1"),
        ({"classes": ["a", "a"]}, "data.classes names a class twice: a, a"),
    ],
)
def test_values_out_of_range_are_refused(folder, options, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        ImageFolder(str(folder), **options)
