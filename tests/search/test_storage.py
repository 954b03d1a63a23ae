"""The database of a search: drivers, URLs without their passwords, and errors."""

import gc
import sys
import warnings

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.search import storage as storage_module
from diffusion_lab.search.storage import shown_url, with_driver
from diffusion_lab.search.study import SharedStudy
from searches import small_spec

URLS = {
    "postgresql://me:hush@host/db": "postgresql://me:***@host/db",
    "postgresql://host/db?user=me&password=hush": "postgresql://host/db?password=***&user=me",
    "sqlite:////tmp/x.db": "sqlite:////tmp/x.db",
    "hush": "***",
}


@pytest.fixture
def collected():
    """Optuna leaves a database open that it could not use, of which Python 3.13 warns when it is collected."""
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_shown_without_its_password(url):
    assert shown_url(url) == URLS[url]


def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(tmp_path):
    with pytest.raises(LabError) as refusal:
        SharedStudy(small_spec(tmp_path, storage="postgresql://me:hush@127.0.0.1:1/db?connect_timeout=2"))
    assert "search.storage=postgresql://me:***@127.0.0.1:1/db" in str(refusal.value)
    assert "hush" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_driver_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(LabError, match="needs a driver: pip install psycopg2-binary"):
        SharedStudy(small_spec(tmp_path, storage="postgresql://me:hush@127.0.0.1:1/db"))


def test_the_installed_driver_is_used_for_postgresql(monkeypatch):
    there = {"psycopg": None}
    monkeypatch.setattr(storage_module.importlib.util, "find_spec", lambda name: there[name])
    assert with_driver("postgresql://me:hush@host/db") == "postgresql+psycopg2://me:hush@host/db"
    assert with_driver("postgresql+pg8000://host/db") == "postgresql+pg8000://host/db"
    there["psycopg"] = "a module"
    assert with_driver("postgresql://me:hush@host/db") == "postgresql://me:hush@host/db"


def test_a_malformed_url_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"search\.storage must be the URL of a database"):
        SharedStudy(small_spec(tmp_path, storage="study.db"))


@pytest.mark.usefixtures("collected")
def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at " * 20)
    with pytest.raises(LabError, match=r"search\.storage=sqlite:.*text\.db cannot be used: file is not a database"):
        SharedStudy(small_spec(tmp_path, storage=f"sqlite:///{tmp_path}/text.db"))
