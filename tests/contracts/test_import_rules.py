"""The import contracts of pyproject.toml catch what they are there for, shown on a small house."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "spec", "settings", "sources", "products", "lake", "registry", "ingestion", "validation", "audit",
    "orchestration", "stack",
)  # fmt: skip


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    for package in ("dags", "plugins", "include", *(f"include/{room}" for room in (*ROOMS, "demo", "cli"))):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
        "--no-cache",
    ]
    environment = {"PYTHONPATH": str(house), "PATH": "/usr/bin:/bin", "COLUMNS": "300"}
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)


def test_every_room_stands_on_a_floor():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    placed = set(re.findall(r"include\.(\w+)", " ".join(contract["layers"])))
    rooms = {path.parent.name for path in (ROOT / "include").glob("*/__init__.py")}
    assert len(rooms) > 10
    assert rooms - placed == set()


def test_a_house_in_order_is_let_be(small_house):
    (small_house / "dags" / "ingest.py").write_text(
        "import airflow\nimport include.sources\nimport include.ingestion\n"
    )
    (small_house / "include" / "orchestration" / "assets.py").write_text(
        "import airflow.sdk\nimport include.lake\n"
    )
    (small_house / "include" / "cli" / "demo.py").write_text("import include.demo\nimport include.stack\n")
    (small_house / "include" / "demo" / "load.py").write_text(
        "import include.sources\nimport include.stack\n"
    )
    done = lint(small_house)
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("spec/errors.py", "include.settings"),
        ("settings/x.py", "include.lake"),
        ("lake/publish.py", "include.ingestion"),
        ("ingestion/batch.py", "include.validation"),
        ("validation/check.py", "include.ingestion"),
        ("ingestion/batch.py", "include.sources"),
        ("ingestion/batch.py", "include.stack"),
        ("sources/retail.py", "include.orchestration"),
        ("sources/retail.py", "include.stack"),
        ("orchestration/assets.py", "include.stack"),
        ("stack/server.py", "include.cli"),
        ("stack/server.py", "include.demo"),
        ("lake/publish.py", "airflow.sdk"),
        ("cli/main.py", "airflow"),
        ("cli/main.py", "dags"),
        ("demo/load.py", "include.cli"),
        ("audit/commits.py", "include.lake"),
        ("audit/versions.py", "include.registry"),
        ("ingestion/batch.py", "include.audit"),
        ("../dags/train.py", "include.stack"),
        ("../dags/train.py", "include.demo"),
        ("../dags/train.py", "plugins"),
        ("../plugins/hook.py", "include.stack"),
    ],
)
def test_an_import_against_the_house_is_seen(small_house, module, imported):
    (small_house / "include" / module).write_text(f"import {imported}\n")
    done = lint(small_house)
    assert done.returncode == 1, done.stdout + done.stderr
    assert " BROKEN" in done.stdout
