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
    "status": [3, "", "x" * 100, "\x1b[2J"],
    "sessions": [3, "x", {"0": {}}, [3], [None], [[]]],
    "options": [3, [1], "x"],
    "data": [3, [1], "x"],
    "parameters": [-1, 1.5, "many"],
    "sessions.started": [3, "now", "\x1b]0;x\x07" * 5],
    "sessions.wall_time_s": ["1", -1, True, [1], float("nan"), float("inf")],
    "sessions.process_id": [0, -1, 2**40, "1", 1.5, True],
    "sessions.host": [3, ["a"], "x" * 1000],
    "sessions.slurm_job": [3, {}],
    "sessions.argv": [3, [1], {"a": 1}],
    "sessions.versions": [3, []],
    "sessions.hardware": [3, []],
    "sessions.fingerprint": [3, "x"],
    "sessions.hardware.threads": [0, 10**6, "2"],
    "sessions.computing.processes": [0, 10**9, "2"],
    "sessions.git.commit": ["--output=/tmp/x", 3, "HEAD"],
    "sessions.git.patch": ["../x.patch", "/etc/passwd", 3],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_field_of_another_kind_is_named_by_every_reader(tmp_path, field, value):
    path = fake_run(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    first, *rest = field.split(".")
    node, last = manifest, first
    for name in rest:
        node = node[last][0] if last == "sessions" else node.setdefault(last, {})
        last = name
    node[last] = value
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LabError) as refused:
        RunFolder(path).read_manifest()
    line = str(refused.value)
    assert line.startswith(f"{path / 'manifest.json'} is damaged: {first}")
    assert f"{rest[-1] if rest else first}" in line
    assert line.isprintable()
    assert RunRecord(path).state == "damaged"


def test_what_this_project_records_is_accepted(tmp_path):
    path = fake_run(tmp_path)
    assert RunFolder(path).read_manifest() == json.loads((path / "manifest.json").read_text())
