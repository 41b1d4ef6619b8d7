"""The environment file of docker-compose.yaml: fresh secrets, for its owner only, never written over."""

import base64
import importlib.util
import re
import stat
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "docker" / "fill_env.py"


@pytest.fixture
def fill_env():
    """The script, by its path: a package on PyPI has the name of its folder."""
    spec = importlib.util.spec_from_file_location("fill_env", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(fill_env, tmp_path, monkeypatch):
    (tmp_path / ".env.example").write_text((fill_env.ROOT / ".env.example").read_text())
    monkeypatch.setattr(fill_env, "ROOT", tmp_path)
    return tmp_path


def test_each_empty_variable_gets_a_value_of_its_own(fill_env, checkout):
    fill_env.main()
    text = (checkout / ".env").read_text()
    values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))
    was_empty = re.findall(r"^([A-Z0-9_]+)=$", (checkout / ".env.example").read_text(), re.MULTILINE)
    assert len(was_empty) > 10
    assert len({values[name] for name in was_empty}) == len(was_empty)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}=?", values[name]) for name in was_empty)
    assert len(base64.urlsafe_b64decode(values["AIRFLOW_FERNET_KEY"])) == 32
    assert stat.S_IMODE((checkout / ".env").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_kept(fill_env, checkout):
    (checkout / ".env").write_text("MINE=1\n")
    with pytest.raises(SystemExit, match="there already"):
        fill_env.main()
    assert (checkout / ".env").read_text() == "MINE=1\n"
