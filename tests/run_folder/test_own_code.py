"""The record of code of one's own that has no module: classes of a notebook."""

import sys

import pytest

from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.run_folder.own_code import own_code


class One:
    """A class of a notebook."""


class Other:
    """Another one."""


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
