"""On a small archive that is made up here, in the format of the published one."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lab.data import CIFAR10
from diffusion_lab.data import downloaded as downloads
from diffusion_lab.errors import LabError

IN_FILE, ARCHIVE = 4, "cifar-10-binary.tar.gz"
NAMES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def pictures(number):
    """The pictures of a file, [4, 32, 32, 3], all different."""
    return np.random.default_rng(number).integers(0, 256, (IN_FILE, 32, 32, 3), dtype=np.uint8)


def content(number):
    """A label, then all red, all green and all blue bytes of each picture, row by row."""
    records = []
    for row, picture in enumerate(pictures(number)):
        bands = [band.tobytes() for band in Image.fromarray(picture).split()]
        records.append(bytes([(number + row) % 10]) + b"".join(bands))
    return b"".join(records)


def archive(path, files):
    with tarfile.open(path, "w:gz") as made:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function from files to the archive of them, which CIFAR10 takes for the published one; there is no network."""

    def unreachable(*arguments):
        raise OSError("no network")

    def made(files):
        path = tmp_path / "CIFAR10" / ARCHIVE
        path.parent.mkdir(exist_ok=True)
        archive(path, files)
        monkeypatch.setattr(CIFAR10, "checksums", {ARCHIVE: hashlib.md5(path.read_bytes()).hexdigest()})
        return path

    monkeypatch.setattr(CIFAR10, "images_in_file", IN_FILE)
    monkeypatch.setattr(downloads, "download_url", unreachable)
    return made


FILES = {name: content(number) for number, name in enumerate(NAMES)}


def ready(folder, **options):
    data = CIFAR10(str(folder), **options)
    data.prepare_data()
    data.setup()
    return data


def test_the_pictures_and_their_labels_are_read(make, tmp_path):
    make({"readme.html": b"text", **dict(reversed(FILES.items()))})
    data = ready(tmp_path, validation="test")
    expected = np.concatenate([pictures(number) for number in range(5)])
    assert torch.equal(data.train.data.permute(0, 2, 3, 1), torch.from_numpy(expected))
    assert torch.equal(data.test.data.permute(0, 2, 3, 1), torch.from_numpy(pictures(5)))
    assert data.train.labels.tolist() == [(number + row) % 10 for number in range(5) for row in range(4)]
    assert (data.shape, data.num_classes, data.train.data.dtype) == ((3, 32, 32), 10, torch.uint8)


def test_validation_images_are_held_out(make, tmp_path):
    make(FILES)
    data = ready(tmp_path, validation=3)
    assert [len(split) for split in (data.train, data.val, data.test)] == [17, 3, 4]


def test_an_archive_with_another_checksum_is_refused_by_name(make, tmp_path):
    path = make(FILES)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(LabError, match="is damaged") as caught:
        CIFAR10(str(tmp_path)).prepare_data()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({name: FILES[name] for name in NAMES[:-1]}, "lacks test_batch.bin"),
        (FILES | {"data_batch_3.bin": FILES["data_batch_3.bin"][:-1]}, "data_batch_3.bin is damaged"),
        (FILES | {"data_batch_3.bin": b"\x0a" + FILES["data_batch_3.bin"][1:]}, "data_batch_3.bin is damaged"),
        (FILES | {"data_batch_1.bin": b""}, "data_batch_1.bin is damaged"),
    ],
)
def test_files_of_another_content_are_refused_by_name(make, tmp_path, files, said):
    make(files)
    with pytest.raises(LabError, match=said):
        ready(tmp_path, validation=3)


def test_without_archive_and_network_one_line_says_what_would_do(make, tmp_path):
    with pytest.raises(LabError) as caught:
        CIFAR10(str(tmp_path)).prepare_data()
    for part in (str(tmp_path / "CIFAR10"), ARCHIVE, "no network", "data=digits", "paths.data_dir"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_published_checksum_is_asked_for():
    assert CIFAR10.checksums == {ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"}
