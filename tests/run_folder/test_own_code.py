"""The record of code of one's own: of modules and packages, and of classes of a notebook, which has neither."""

import re
import sys
from importlib import metadata

import pytest

from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.run_folder.own_code import _identity, own_code


class One:
    """A class of a notebook."""

    def number(self):
        return 1


class Other:
    """Another one."""

    def number(self):
        return 2


@pytest.fixture
def recorded(monkeypatch):
    """What is recorded of a class that is typed in a notebook as the network."""
    monkeypatch.setenv(TRUST_VARIABLE, "__main__")

    def recorded(cls):
        monkeypatch.setattr(sys.modules["__main__"], "Typed", cls, raising=False)
        return own_code({"network": {"_target_": "__main__.Typed"}})

    return recorded


def test_a_class_of_a_notebook_is_known_by_its_source(recorded):
    assert recorded(One).keys() == {"__main__"}
    assert len(recorded(One)["__main__"]) == 16
    assert recorded(One) == recorded(One)
    assert recorded(One) != recorded(Other)


def one():
    """A function of a notebook."""
    return 1


def another():
    """Another one."""
    return 2


def test_a_function_of_a_notebook_is_known_by_its_source(recorded):
    assert len(recorded(one)["__main__"]) == 16
    assert recorded(one) == recorded(one)
    assert recorded(one) != recorded(another)


def test_a_class_without_a_source_is_unknown(recorded):
    assert recorded(type("Typed", (), {"__module__": "__main__"})) == {"__main__": "unknown"}
    assert recorded(type("Typed", (), {"number": eval("lambda self: 1")})) == {"__main__": "unknown"}


def test_a_class_that_was_typed_in_another_process_is_unknown(monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, "__main__")
    assert own_code({"network": {"_target_": "__main__.Gone"}}) == {"__main__": "unknown"}


def test_classes_that_are_typed_in_a_notebook_are_told_apart(monkeypatch):
    """A notebook has no file, and keeps the source of functions alone."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv(TRUST_VARIABLE, "__main__")
    shell = InteractiveShell()
    found = []
    for number in (1, 2, 1):
        shell.run_cell(f"class Typed:\n    def number(self):\n        return {number}\n").raise_error()
        monkeypatch.setattr(sys.modules["__main__"], "Typed", shell.user_ns["Typed"], raising=False)
        found.append(own_code({"network": {"_target_": "__main__.Typed"}})["__main__"])
    assert found[0] != found[1]
    assert found[0] == found[2]
    assert "unknown" not in found


@pytest.fixture
def identity(monkeypatch, tmp_path):
    """A function from files, by their names, to what is recorded of the module or package `of_my_own` among them."""

    def of(files):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        _identity.cache_clear()
        with monkeypatch.context() as here:
            here.setenv(TRUST_VARIABLE, "of_my_own")
            here.syspath_prepend(place)
            return own_code({"network": {"_target_": "of_my_own.Net"}})["of_my_own"]

    yield of
    _identity.cache_clear()


def test_a_module_is_known_by_its_file(identity):
    found = identity({"of_my_own.py": "x = 1\n"})
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert identity({"of_my_own.py": "x = 1\n", "beside.py": "y = 1\n"}) == found
    assert identity({"of_my_own.py": "x = 2\n"}) != found


def test_a_package_is_known_by_all_its_python_files(identity):
    files = {"of_my_own/__init__.py": "", "of_my_own/deep/net.py": "x = 1\n", "of_my_own/notes.txt": "a\n"}
    found = identity(files)
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert identity(files | {"of_my_own/notes.txt": "b\n", "beside.py": "y = 1\n"}) == found
    for change in ({"of_my_own/deep/net.py": "x = 2\n"}, {"of_my_own/new.py": ""}):
        assert identity(files | change) != found
    renamed = {name.replace("deep/net", "deep/other"): text for name, text in files.items()}
    assert identity(renamed) != found
    del files["of_my_own/__init__.py"]
    assert re.fullmatch("[0-9a-f]{16}", identity(files))


def test_what_is_edited_after_it_was_read_is_not_what_the_process_runs(monkeypatch, tmp_path):
    monkeypatch.setenv(TRUST_VARIABLE, "edited_of_my_own")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"network": {"_target_": "edited_of_my_own.Net"}}
    (tmp_path / "edited_of_my_own.py").write_text("x = 1\n")
    before = own_code(config)
    (tmp_path / "edited_of_my_own.py").write_text("x = 2\n")
    assert own_code(config) == before


def test_what_is_installed_is_known_by_its_distribution_and_version(monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, "yaml,missing_of_my_own")
    nodes = {"network": {"_target_": "yaml.Net"}, "schedule": {"_target_": "missing_of_my_own.Net"}}
    assert own_code(nodes) == {"missing_of_my_own": "missing", "yaml": f"PyYAML {metadata.version('PyYAML')}"}


@pytest.mark.parametrize("target", ["diffusion_lab.networks.SimpleUNet", "os.system", "mine_but_not_trusted.Net", 3])
def test_what_the_project_has_and_what_nobody_trusts_is_not_one_s_own(monkeypatch, target):
    monkeypatch.setenv(TRUST_VARIABLE, "mine")
    assert own_code({"network": {"_target_": target}}) == {}
