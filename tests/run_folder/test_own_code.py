"""The record of code of one's own that has no module: classes of a notebook."""

import sys

import pytest

from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.run_folder.own_code import own_code


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


def test_a_class_without_a_source_is_unknown(recorded):
    assert recorded(type("Typed", (), {"__module__": "__main__"})) == {"__main__": "unknown"}


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
