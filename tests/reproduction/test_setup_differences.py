"""What differs between two runs besides their results, in words."""

import json

import pytest
import yaml

from diffusion_lab.reproduction import setup_differences as module
from diffusion_lab.reproduction.setup_differences import setup_differences
from diffusion_lab.run_folder.folder import RunFolder

CONFIG = {"name": "a", "seed": 1, "network": {"_target_": "diffusion_lab.networks.SimpleUNet", "base_channels": 8}}


@pytest.fixture
def two(tmp_path):
    """A function from what two runs record, the new one first, to the differences of their setup."""

    def differences(here=None, there=None, config=None, manifest=None, patches=(None, None)):
        folders = []
        for number, session in enumerate((here or {}, there or {})):
            folder = RunFolder.create(tmp_path / str(number), "run")
            sessions = session if isinstance(session, list) else [session]
            (folder.path / "config.yaml").write_text(yaml.safe_dump(CONFIG | ((config or {}) if number == 0 else {})))
            content = {"sessions": sessions, **((manifest or ({}, {}))[number])}
            (folder.path / "manifest.json").write_text(json.dumps(content))
            if patches[number] is not None:
                (folder.path / "code_0.patch").write_text(patches[number])
            folders.append(folder)
        return setup_differences(*folders)

    return differences


def test_equal_runs_differ_in_nothing(two):
    assert two() == {}
    assert two({"computing": {"threads": 2}, "versions": {"torch": "2"}}, {"versions": {"torch": "2"}}) == {}


def test_keys_of_the_config_are_named_with_both_values(two):
    network = CONFIG["network"] | {"base_channels": 16, "dropout": 0.5}
    assert two(config={"network": network, "seed": 2}) == {
        "config": "network.base_channels 16 here, 8 there; network.dropout 0.5 here, none there; seed 2 here, 1 there"
    }


def test_at_most_six_differences_of_a_kind_are_listed(two):
    for count, said in ((6, ""), (7, "; and 1 more"), (9, "; and 3 more")):
        config = {f"key{number}": number for number in range(count)}
        text = two(config=config)["config"]
        assert text.count(" here, none there") == 6
        assert text.partition("key5 5 here, none there")[2] == said


def test_what_only_one_run_recorded_of_its_machine_is_no_difference(two):
    here = {"versions": {"torch": "2.1", "numpy": "2"}, "computing": {"threads": 4, "device": "cpu", "cuda": None}}
    there = {"versions": {"torch": "2.0"}, "computing": {"device": "cpu", "cuda": "13"}}
    assert two(here, there) == {"versions": "torch 2.1 here, 2.0 there"}


def test_variables_and_own_code_that_only_one_run_has_are_differences(two):
    here = {"computing": {"variables": {"MKL_CBWR": "AVX2"}}, "own_code": {"mynets": "aa"}}
    assert two(here, {"own_code": {"mynets": "bb", "other": "cc"}}) == {
        "own code": "mynets aa here, bb there; other none here, cc there",
        "variables": "MKL_CBWR AVX2 here, none there",
    }


@pytest.mark.parametrize("name", ["computing", "hardware"])
def test_older_runs_call_the_machine_hardware(two, name):
    here, there = ({name: {"threads": n, "name": f"cpu{n}", "precision": "32"}} for n in (1, 2))
    assert two(here, there) == {"threads": "1 here, 2 there", "hardware": "name cpu1 here, cpu2 there"}


def test_data_and_first_weights_are_compared(two):
    found = two(
        {"weights": "aa"}, {"weights": "bb"}, manifest=({"data": {"val": "1"}}, {"data": {"val": "2", "x": "3"}})
    )
    assert found == {"data": "val 1 here, 2 there", "first weights": "aa here, bb there"}


def test_the_first_sessions_are_compared_and_later_ones_with_their_first(two):
    first = {"fingerprint": {"config": "c", "code": "k", "data": "d", "environment": "e"}}
    later = {"fingerprint": first["fingerprint"] | {"environment": "f", "data": "g"}}
    assert two([first, first], [first]) == {}
    assert two([first, later], first) == {"sessions": "the run here was resumed with a different data, environment"}
    assert two(first, [first, later, first])["sessions"].startswith("the run there was resumed with")
    assert two([first, later], [first, later])["sessions"].count("; ") == 1


def code(number, commit="0123456789abcdef", **more):
    return {"fingerprint": {"code": number}, "git": {"commit": commit, **more}}


@pytest.fixture
def changed(monkeypatch):
    """What git says of files between two commits; and what it was asked."""
    asked, files = [], []
    monkeypatch.setattr(module, "changed_files", lambda root, old, new: asked.append((old, new)) or files)
    return asked, files


def test_equal_code_is_no_difference_whatever_its_commit(two, changed):
    assert two(code("a"), code("a", commit="fedcba9876543210")) == {}


def test_commits_are_named_with_the_files_of_the_package_that_differ(two, changed):
    asked, files = changed
    files += ["src/diffusion_lab/b.py", "src/diffusion_lab/a.py", "README.md", "src/diffusion_lab/page.css", "other.py"]
    found = two(code("a", commit="f" * 40), code("b", commit="0" * 40))
    listed = "src/diffusion_lab/a.py, src/diffusion_lab/b.py"
    assert found == {"code": f"commit {'f' * 12} here, {'0' * 12} there: {listed}"}
    assert asked == [("0" * 40, "f" * 40)]
    for numbers, end in ((range(4), "c3.py"), (range(4, 6), "c3.py, and 2 more")):
        files += [f"src/diffusion_lab/c{number}.py" for number in numbers]
        assert two(code("a", commit="f" * 40), code("b", commit="0" * 40))["code"].endswith(end)


def test_one_commit_with_other_changes_says_so(two, changed):
    assert two(code("a"), code("b")) == {"code": "commit 0123456789ab, with other changes"}


def test_runs_from_before_there_were_fingerprints_differ_by_commit_alone(two, changed):
    here, there = ({"git": {"commit": "0123456789abcdef"}} for _ in range(2))
    assert two(here, there) == {}
    there["git"]["commit"] = "fedcba9876543210"
    assert two(here, there) == {"code": "commit 0123456789ab here, fedcba987654 there"}
    assert two({"git": {"commit": "0123456789abcdef"}}, code("a")) == {}


def patch(**lines):
    """A patch that adds a line to each of some files of the package."""
    files = {f"src/diffusion_lab/{name}.py": line for name, line in lines.items()}
    return "".join(f"diff --git a/{file} b/{file}\n@@ -0,0 +1 @@\n+{line}\n" for file, line in files.items())


def test_uncommitted_changes_are_named_where_they_differ(two):
    here, there = patch(same=1, edited=1, here=1), patch(same=1, edited=2, there=1)
    listed = ", ".join(f"src/diffusion_lab/{name}.py" for name in ("edited", "here", "there"))
    said = {"code": f"commit 0123456789ab, with other changes: {listed}"}
    named = {"patch": "code_0.patch"}
    assert two(code("a", **named), code("b", **named), patches=(here, there)) == said
    assert two(code(None, **named), code(None, **named), patches=(here, there)) == said
    assert two(code(None, **named), code(None, **named), patches=(here, here)) == {}


def test_changes_whose_file_is_gone_are_unknown(two):
    assert two(code("a", patch="code_0.patch"), code("b")) == {"code": "commit 0123456789ab, with other changes"}
