import sys

import pytest

from diffusion_lab.machine.progress_bars import can_show_bars


@pytest.mark.parametrize(("terminal", "notebook"), [(False, False), (True, False), (False, True)])
def test_bars_are_for_terminals_and_notebooks(monkeypatch, terminal, notebook):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert can_show_bars() is (terminal or notebook)
