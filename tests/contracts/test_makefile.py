"""The Makefile: each target that the README promises is listed, and sets up the environment when it must."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISED = {
    "help", "demo", "test", "up", "down", "status", "lint", "types", "bench", "test-unit", "test-integration",
    "clean", "lock", "environment",
}  # fmt: skip
NEED_NO_ENVIRONMENT = {"help", "clean"}


def make(*arguments: str) -> str:
    # Without the flags of a make that runs these tests.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(ROOT)}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_help_is_the_default_and_lists_every_target():
    assert make() == make("help")
    assert set(re.findall(r"^  make ([a-z-]+)  +\S", make("help"), re.MULTILINE)) == PROMISED


def test_every_target_is_phony():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == PROMISED


@pytest.mark.parametrize("target", sorted(PROMISED - NEED_NO_ENVIRONMENT))
def test_a_target_sets_the_environment_up_on_a_clean_clone(target, tmp_path):
    planned = make("--dry-run", target, f"VENV={tmp_path / 'absent'}", "PYTHON=python3.11")
    assert "python3.11 bootstrap.py --venv" in planned


def test_a_fresh_environment_is_not_made_again(tmp_path):
    stamp = tmp_path / "venv" / "headrace.stamp"
    stamp.parent.mkdir()
    stamp.touch()
    assert "bootstrap.py" not in make("--dry-run", "test", f"VENV={stamp.parent}")


@pytest.mark.parametrize("target", sorted(NEED_NO_ENVIRONMENT))
def test_a_target_that_needs_no_environment_makes_none(target, tmp_path):
    assert "bootstrap.py" not in make("--dry-run", target, f"VENV={tmp_path / 'absent'}")


def test_a_missing_python_is_one_clear_error(tmp_path):
    command = ["make", "environment", f"VENV={tmp_path / 'absent'}", "PYTHON=python3.11-nonesuch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "python3.11-nonesuch is not found" in done.stderr
    assert "make PYTHON=/path/to/python3.11" in done.stderr
    assert not (tmp_path / "absent").exists()
