import errno
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint


@pytest.fixture
def checkpoint():
    return {"state_dict": {"w": torch.arange(6.0).reshape(2, 3)}, "global_step": 7, "loops": {"a": [1, None, "x"]}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "last.ckpt"


def refusal(path):
    with pytest.raises(LabError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_is_written_is_read_again(path, checkpoint):
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    for again in (read_checkpoint(path), AtomicCheckpointIO().load_checkpoint(str(path))):
        assert torch.equal(again["state_dict"].pop("w"), checkpoint["state_dict"]["w"])
        assert again == {"state_dict": {}, "global_step": 7, "loops": {"a": [1, None, "x"]}}
    assert list(path.parent.iterdir()) == [path]


def laughs():
    """Twenty lists, each of ten times the one before: more values than any memory holds."""
    node = ["ha"]
    for _ in range(20):
        node = [node] * 10
    return node


WRONG = {
    "weights that are a number": ({"state_dict": 5}, "state_dict must be a mapping from names to tensors"),
    "weights with numbers as names": ({"state_dict": {3: torch.zeros(2)}}, "state_dict must be"),
    "weights that are texts": ({"state_dict": {"w": "abc"}}, "state_dict must be"),
    "a step that is a text": ({"global_step": "abc"}, "global_step must be a whole number of steps, and is 'abc'"),
    "a step that is negative": ({"global_step": -1}, "global_step must be"),
    "a step that is a fraction": ({"global_step": 1.5}, "global_step must be"),
    "a step of 400 digits": ({"global_step": 10**400}, "global_step must be"),
    "a step that no double has": ({"global_step": 2**53}, "global_step must be"),
    "a step that is true": ({"global_step": True}, "global_step must be"),
    "an epoch that is a list": ({"epoch": [1]}, "epoch must be a whole number of epochs"),
    "loops that are a list": ({"loops": [1]}, "loops must be a mapping"),
    "callbacks that are a text": ({"callbacks": "x"}, "callbacks must be a mapping"),
    "a callback whose name is a number": ({"callbacks": {3: {}}}, "callbacks must be a mapping from names to mappings"),
    "an optimizer that is a mapping": ({"optimizer_states": {}}, "optimizer_states must be a list of mappings"),
    "optimizers that are texts": ({"optimizer_states": [{}, "abc"]}, "optimizer_states must be a list of mappings"),
    "a schedule that is a mapping": ({"lr_schedulers": {}}, "lr_schedulers must be a list of mappings"),
    "an average that is a list": ({"ema": [1]}, "ema must be averages of the weights"),
    "an average of a fraction of updates": ({"ema": {"weights": {}, "updates": 1.5}}, "ema must be averages of"),
    "an average without weights": ({"ema": {"weights": [1]}}, "ema must be averages of the weights"),
    "an average whose name is a number": ({"ema": {"weights": {}, "updates": 1, "key": 3}}, "ema must be averages of"),
    "averages that are a list": ({"ema": {"weights": {}, "updates": 1, "others": [1]}}, "ema must be averages of"),
    "averages of texts": (
        {"ema": {"weights": {}, "updates": 1, "others": {"a": {"w": "b"}}}},
        "ema must be averages of",
    ),
    "averages with numbers as names": (
        {"ema": {"weights": {}, "updates": 1, "others": {3: {}}}},
        "ema must be averages of",
    ),
    "a time sampling with texts": ({"time_sampling": {"losses": "abc"}}, "time_sampling must be a mapping from"),
    "a tensor of terabytes in four bytes": (
        {"state_dict": {"w": torch.zeros(1).expand(10**12)}},
        "a tensor in it declares more values than it holds",
    ),
    "complex numbers": (
        {"state_dict": {"w": torch.zeros(2, dtype=torch.complex64)}},
        "no plain tensor of real numbers",
    ),
    "a tensor without values": (
        {"state_dict": {"w": torch.zeros(2, device="meta")}},
        "no plain tensor of real numbers",
    ),
    "such a tensor far inside": (
        {"optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(1).expand(10**12)}}}]},
        "a tensor in it declares more values than it holds",
    ),
}


@pytest.mark.parametrize(("count", "allowed"), [(2, True), (5, True), (6, False)])
def test_weights_may_share_memory_as_long_as_they_can_be_loaded_apart(path, checkpoint, count, allowed):
    """A megabyte for each, of which there is one: four times what is there, and one megabyte more, may be declared."""
    one = torch.zeros(2**18)
    shared = {"state_dict": {f"w{number}": one for number in range(count)}}
    AtomicCheckpointIO().save_checkpoint(checkpoint | shared, path)
    if allowed:
        assert len(read_checkpoint(path)["state_dict"]) == count
    else:
        assert "tensors in it share so much memory" in refusal(path)


@pytest.mark.parametrize("kind", WRONG)
def test_what_a_checkpoint_claims_is_checked_when_it_is_read(path, checkpoint, kind):
    change, said = WRONG[kind]
    AtomicCheckpointIO().save_checkpoint(checkpoint | change, path)
    assert said in refusal(path)


@pytest.mark.parametrize("step", [0, 2**53 - 1])
def test_a_number_of_steps_may_be_any_that_a_double_has(path, checkpoint, step):
    AtomicCheckpointIO().save_checkpoint(checkpoint | {"global_step": step, "epoch": step}, path)
    again = read_checkpoint(path)
    assert (again["global_step"], again["epoch"]) == (step, step)


def test_containers_that_are_shared_a_thousand_million_times_are_looked_at_once(path, checkpoint):
    AtomicCheckpointIO().save_checkpoint(checkpoint | {"loops": {"a": laughs()}}, path)
    assert read_checkpoint(path)["global_step"] == 7


def test_a_compressed_archive_is_refused_before_it_is_unpacked(path, checkpoint):
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/99", bytes(50_000_000))
    assert "it is compressed" in refusal(path)


def test_a_link_is_no_checkpoint(path, checkpoint, tmp_path):
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    path.rename(tmp_path / "elsewhere.ckpt")
    path.symlink_to(tmp_path / "elsewhere.ckpt")
    assert "is a link" in refusal(path)


def test_a_newer_checkpoint_replaces_the_older(path, checkpoint):
    for step in (7, 8):
        AtomicCheckpointIO().save_checkpoint(checkpoint | {"global_step": step}, path)
    assert read_checkpoint(path)["global_step"] == 8


FAILURES = [
    OSError(errno.ENOSPC, "No space left on device"),
    RuntimeError("unexpected pos 64 vs 0:\n file write failed"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("older", [True, False])
def test_a_failed_write_leaves_the_older_file_whole_and_nothing_else(path, checkpoint, monkeypatch, failure, older):
    writer = AtomicCheckpointIO()
    if older:
        writer.save_checkpoint(checkpoint, path)
        before = path.read_bytes()

    def fail(content, file):
        file.write(b"half of a checkpoint")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(LabError) as caught:
            writer.save_checkpoint(checkpoint | {"global_step": 8}, path)
    message = str(caught.value)
    assert message.startswith(f"cannot write the checkpoint {path}: ")
    assert str(failure).split()[-1] in message
    assert "\n" not in message
    assert message.endswith("; the previous one is intact") is older
    assert list(path.parent.iterdir()) == ([path] if older else [])
    if older:
        assert path.read_bytes() == before


def reason(path, checkpoint, monkeypatch, failure):
    """What is told of a failed write."""

    def fail(content, file):
        raise failure

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(LabError) as caught:
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return str(caught.value).removeprefix(f"cannot write the checkpoint {path}: ")


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_what_the_system_said_is_told_in_place_of_what_torch_makes_of_it(path, checkpoint, monkeypatch, link):
    failure = RuntimeError("unexpected pos 64 vs 0")
    setattr(failure, link, FAILURES[0])
    assert reason(path, checkpoint, monkeypatch, failure) == "No space left on device"


def test_a_long_reason_is_cut(path, checkpoint, monkeypatch):
    assert reason(path, checkpoint, monkeypatch, RuntimeError(f"{'x' * 159}yz")) == f"{'x' * 159}y"


class Code:
    """An object that creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


def test_code_in_a_checkpoint_is_refused_and_not_run(path, checkpoint, tmp_path):
    mark = tmp_path / "it ran"
    path.parent.mkdir()
    torch.save(checkpoint | {"extra": Code(mark)}, path)
    assert "holds more than tensors and plain values" in refusal(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # it would have
    assert mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_with_code_is_refused_and_not_run(path, tmp_path, protocol):
    mark = tmp_path / "it ran"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({"state_dict": Code(mark)}, protocol))
    refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_a_truncated_file_is_refused(path, checkpoint, share):
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"\0" * 300, b"this is no checkpoint at all\n", b"PK\x03\x04 no archive", b"<html>"]
)
def test_a_file_of_something_else_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert "is damaged" in refusal(path)


def test_a_missing_file_is_refused(path):
    assert refusal(path) == f"there is no checkpoint {path}"


def test_a_folder_is_no_checkpoint(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} is no regular file"


@pytest.mark.parametrize("content", [{"weights": 1}, {}, [1, 2], torch.zeros(3)])
def test_a_file_without_weights_is_refused(path, content):
    path.parent.mkdir()
    torch.save(content, path)
    assert "it has no state_dict" in refusal(path)
