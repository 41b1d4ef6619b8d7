"""The set-up script: what it takes from pip, what it refuses, and when it does nothing."""

import fcntl
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import bootstrap

VENV = Path("venv")

PIP_SAYS = """\
:env:.find-links='/a/wheelhouse /b/wheelhouse'
:env:.disable-pip-version-check='1'
global.extra-index-url='https://one.example/simple\\nhttps://two.example/simple'
global.find-links='/not/this'
global.index-url='https://user:secret@index.example/simple'
install.no-index='true'
freeze.timeout='10'
"""


@pytest.fixture
def pip_says(monkeypatch):
    def say(text: str) -> None:
        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            # Of the environment itself: the Python that made it may come without pip.
            assert command == [str(VENV / "bin" / "python"), "-m", "pip", "config", "list"]
            return subprocess.CompletedProcess(command, 0, stdout=text)

        monkeypatch.setattr("bootstrap.subprocess.run", run)

    for name in ("UV_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_NO_INDEX", "UV_INDEX_STRATEGY"):
        monkeypatch.delenv(name, raising=False)
    return say


def test_pip_configuration_reaches_uv_with_pips_precedence(pip_says):
    pip_says(PIP_SAYS)
    told = bootstrap.uv_environment(VENV)
    assert told["UV_FIND_LINKS"] == "/a/wheelhouse,/b/wheelhouse"
    assert told["UV_INDEX"] == "https://one.example/simple https://two.example/simple"
    assert told["UV_DEFAULT_INDEX"] == "https://user:secret@index.example/simple"
    assert told["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert told["UV_NO_INDEX"] == "1"


def test_without_a_pip_configuration_uv_keeps_its_defaults(pip_says):
    pip_says("")
    told = bootstrap.uv_environment(VENV)
    assert not {"UV_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_NO_INDEX", "UV_INDEX_STRATEGY"} & set(
        told
    )


def test_a_variable_that_is_set_and_empty_is_not_passed_on(pip_says, monkeypatch):
    pip_says("")
    monkeypatch.setenv("UV_TORCH_BACKEND", "")
    assert "UV_TORCH_BACKEND" not in bootstrap.uv_environment(VENV)


def test_a_variable_that_is_set_wins(pip_says, monkeypatch):
    pip_says(PIP_SAYS)
    monkeypatch.setenv("UV_FIND_LINKS", "/mine")
    assert bootstrap.uv_environment(VENV)["UV_FIND_LINKS"] == "/mine"


def test_the_installer_itself_is_locked_with_hashes():
    lines = bootstrap.locked("uv").splitlines()
    assert re.fullmatch(r"uv==[\d.]+ \\", lines[0])
    assert len([line for line in lines if "--hash=sha256:" in line]) > 1
    with pytest.raises(SystemExit, match="does not pin nonesuch"):
        bootstrap.locked("nonesuch")


def test_every_line_of_the_lock_is_pinned_and_hashed_and_names_no_machine():
    lock = bootstrap.LOCK_FILE.read_text()
    pins = re.findall(r"^([a-z0-9][\w.-]*)(?:\[[\w,]+\])?==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)
    starts = re.findall(r"^[^\s#]", lock, re.MULTILINE)
    assert len(pins) > 300
    assert len(pins) == len(starts), "a line is not of the form name==version with hashes"
    assert "torch" not in pins
    assert not [name for name in pins if name.startswith("nvidia-") or name == "triton"]
    assert not re.search(r"://|--index|--find-links|-c /", lock)


def test_what_the_overrides_keep_out_is_not_in_the_lock():
    kept_out = re.findall(r"^([a-z0-9-]+) ;", bootstrap.OVERRIDES_FILE.read_text(), re.MULTILINE)
    assert kept_out == ["dbt-core-experimental-parser", "pyspark-client"]
    for name in kept_out:
        assert f"\n{name}==" not in bootstrap.LOCK_FILE.read_text()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own, whose files a test may change."""
    for name in ("LOCK_FILE", "DIRECT_FILE", "OVERRIDES_FILE"):
        copy = tmp_path / getattr(bootstrap, name).name
        shutil.copy(getattr(bootstrap, name), copy)
        monkeypatch.setattr(bootstrap, name, copy)
    shutil.copy(bootstrap.ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def made(checkout, monkeypatch):
    """The environments that would have been made."""
    calls: list[Path] = []

    def install(venv: Path, *, compile_bytecode: bool) -> None:
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin" / "python").touch()
        calls.append(venv)

    monkeypatch.setattr(bootstrap, "install", install)
    monkeypatch.setattr(bootstrap, "FREE_BYTES_NEEDED", 0)
    return calls


def make(checkout: Path) -> None:
    bootstrap.make_environment(checkout / ".venv", compile_bytecode=False)


def test_a_fresh_environment_is_left_alone(checkout, made):
    make(checkout)
    make(checkout)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "remade"),
    [
        ("requirements.txt", "uv==", "uv==9", True),
        ("requirements.in", "torch==2.13.0", "torch==2.13.1", True),
        ("requirements.in", "# Lake", "# A lake", False),
        ("pyproject.toml", 'headrace = "include.cli:app"', 'other = "include.cli:app"', True),
        ("pyproject.toml", "line-length = 110", "line-length = 100", False),
    ],
)
def test_only_what_decides_the_environment_remakes_it(checkout, made, name, old, new, remade):
    make(checkout)
    text = (checkout / name).read_text()
    assert old in text
    (checkout / name).write_text(text.replace(old, new))
    make(checkout)
    assert len(made) == (2 if remade else 1)


def test_an_interrupted_environment_is_remade(checkout, made, monkeypatch):
    def interrupted(venv: Path, *, compile_bytecode: bool) -> None:
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(checkout)
    assert not (checkout / ".venv" / bootstrap.STAMP_NAME).exists()
    make(checkout)
    assert len(made) == 1


def test_a_second_set_up_waits_for_the_first(checkout, made, capsys, monkeypatch):
    real, seen = fcntl.flock, []

    def flock(handle, operation):
        seen.append(operation)
        if len(seen) == 1:
            raise BlockingIOError
        return real(handle, operation)

    monkeypatch.setattr("bootstrap.fcntl.flock", flock)
    make(checkout)
    assert "waiting for it" in capsys.readouterr().out
    assert seen[1] == fcntl.LOCK_EX


def test_a_full_disk_is_one_clear_error(checkout, made, monkeypatch):
    monkeypatch.setattr(bootstrap, "FREE_BYTES_NEEDED", 6 * 10**9)
    usage = SimpleNamespace(free=2 * 10**9)
    monkeypatch.setattr("bootstrap.shutil.disk_usage", lambda _: usage)
    with pytest.raises(SystemExit, match=r"has 2\.0 GB free; .* needs 6 GB"):
        make(checkout)
    assert made == []


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 12, 1), (3, 14, 0)])
def test_another_python_is_one_clear_error(checkout, made, monkeypatch, version):
    monkeypatch.setattr("bootstrap.sys.version_info", version)
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 [\s\S]*PYTHON="):
        make(checkout)
    assert made == []


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_one_clear_error(checkout, made, monkeypatch, module):
    real = importlib.util.find_spec
    missing = lambda name: None if name == module else real(name)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", missing)
    with pytest.raises(SystemExit, match=r"apt install python3\.11-venv"):
        make(checkout)


def test_a_step_that_fails_says_which(capfd):
    with pytest.raises(SystemExit, match="a step: the command ended with status 3"):
        bootstrap.run("a step", [sys.executable, "-c", "raise SystemExit(3)"])
