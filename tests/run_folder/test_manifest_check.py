"""What a manifest claims is checked for kind and range, and a damaged one is one line that names file and field."""

import json

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord
from fake_runs import fake_run

#: Fields, and values that they cannot have.
WRONG = {
    "seed": [-1, 2**32, 1.5, "1", True, [1]],
    "status": [3, "", "x" * 41, "\x1b[2J"],
    "sessions": [3, "x", {"0": {}}, [3], [None], [[]]],
    "options": [3, [1], "x"],
    "data": [3, [1], "x"],
    "stopped_by": [3, "", "x" * 41, "max time"],
    "parameters": [-1, 10**15 + 1, 1.5, "many"],
    "steps": [-1, 10**15 + 1, 1.5, "many"],
    "sessions.started": [3, "now", "2026-05-0", "0" * 41, "\x1b]0;x\x07" * 5],
    "sessions.ended": [3, "now", "2026-05-0", "0" * 41],
    "sessions.status": [3, "", "x" * 41],
    "sessions.wall_time_s": ["1", -1, True, [1], float("nan"), float("inf")],
    "sessions.process_id": [0, -1, 2**31, "1", 1.5, True],
    "sessions.host": [3, ["a"], "x" * 256],
    "sessions.slurm_job": [3, {}, "x" * 256],
    "sessions.argv": [3, [1], {"a": 1}],
    "sessions.git": [3, []],
    "sessions.versions": [3, []],
    "sessions.hardware": [3, []],
    "sessions.computing": [3, []],
    "sessions.own_code": [3, []],
    "sessions.fingerprint": [3, "x"],
    "sessions.hardware.threads": [0, 2**16 + 1, "2"],
    "sessions.computing.threads": [0, 2**16 + 1, "2"],
    "sessions.computing.processes": [0, 10**6 + 1, "2"],
    "sessions.git.commit": ["--output=/tmp/x", 3, "HEAD", "abcdef", "a" * 65],
    "sessions.git.patch": ["../x.patch", "/etc/passwd", "code_.patch", "code_1234567890.patch", 3],
}

#: The least and the most that fields can have.
EDGES = {
    "seed": [0, 2**32 - 1],
    "status": ["x", "x" * 40],
    "stopped_by": ["x", "max_time", "x" * 40],
    "parameters": [0, 10**15],
    "steps": [0, 10**15],
    "sessions.started": ["2026-05-06", "0" * 40],
    "sessions.ended": ["2026-05-06", "0" * 40],
    "sessions.status": ["x", "x" * 40],
    "sessions.wall_time_s": [0, 0.0],
    "sessions.process_id": [1, 2**31 - 1],
    "sessions.host": ["", "x" * 255],
    "sessions.slurm_job": ["", "x" * 255],
    "sessions.hardware.threads": [1, 2**16],
    "sessions.computing.threads": [1, 2**16],
    "sessions.computing.processes": [1, 10**6],
    "sessions.git.commit": ["abcdef0", "0" * 64],
    "sessions.git.patch": ["code_0.patch", "code_123456789.patch"],
}


def with_field(path, field, value):
    """Give a field of a run's manifest a value, and return what the manifest holds then."""
    manifest = json.loads((path / "manifest.json").read_text())
    first, *rest = field.split(".")
    node, last = manifest, first
    for name in rest:
        node = node[last][0] if last == "sessions" else node.setdefault(last, {})
        last = name
    node[last] = value
    (path / "manifest.json").write_text(json.dumps(manifest))
    return manifest


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_field_of_another_kind_is_named_by_every_reader(tmp_path, field, value):
    path = fake_run(tmp_path)
    first, *rest = field.split(".")
    with_field(path, field, value)
    with pytest.raises(LabError) as refused:
        RunFolder(path).read_manifest()
    line = str(refused.value)
    assert line.startswith(f"{path / 'manifest.json'} is damaged: {first}")
    assert f"{rest[-1] if rest else first}" in line
    assert line.isprintable()
    assert RunRecord(path).state == "damaged"


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in EDGES.items() for value in values])
def test_the_least_and_the_most_that_a_field_can_have_are_accepted(tmp_path, field, value):
    path = fake_run(tmp_path)
    manifest = with_field(path, field, value)
    assert RunFolder(path).read_manifest() == manifest


def test_what_this_project_records_is_accepted(tmp_path):
    path = fake_run(tmp_path)
    assert RunFolder(path).read_manifest() == json.loads((path / "manifest.json").read_text())
