"""What killed tasks left: found by age over the whole of it, and nothing else is touched."""

import os
import time
from datetime import timedelta

import pytest

from include.features.project import manifest_hash
from include.orchestration.leftovers import clear_leftovers

DAY = timedelta(days=1)
LEFT = [
    "scratch/gate-1",
    "scratch/transactions-2",
    "tmp/dbt/0123456789abcdef",
    "tmp/dbt/build-3",
    "airflow/tmp/tmpx1y2z3",
]


@pytest.fixture
def home(tmp_path):
    """A state folder with leftovers of each kind, and with what is no leftover whatever its age."""
    in_use = f"tmp/dbt/{manifest_hash()[:16]}"
    for name in (
        *LEFT,
        in_use,
        "cache/objects",
        "dbt_docs",
        "airflow/logs",
        "airflow/tmp/pymp-1",
        "postgres",
    ):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(b"x" * 10)
    for name in (LEFT[2], in_use):
        (tmp_path / name / "partial_parse.msgpack").write_bytes(b"parsed")
    (tmp_path / in_use / "partial_parse.msgpack.77").write_bytes(b"half")
    (tmp_path / "stack.env").write_text("HEADRACE_X=1\n")
    return tmp_path


def files(home):
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir()}


def clear(home, age=DAY, later=2 * DAY, **options):
    return clear_leftovers(home, age, now_s=time.time() + later.total_seconds(), **options)


def test_old_leftovers_go_and_nothing_else(home):
    half = f"tmp/dbt/{manifest_hash()[:16]}/partial_parse.msgpack.77"
    before = files(home)
    told = clear(home, dry_run=True)
    assert files(home) == before
    assert set(told.names) == {*LEFT, half}
    gone = clear(home)
    assert (gone.count, gone.names, gone.dry_run) == (len(LEFT) + 1, told.names, False)
    assert gone.size_bytes == told.size_bytes >= 4 * 10 + len(b"parsed") + len(b"half")
    assert before - files(home) == {name for name in before if name.startswith((*LEFT, half))}
    assert clear(home).count == 0


def test_what_was_touched_anywhere_inside_is_somebodys(home):
    file = home / "scratch/gate-1/deep/file"
    later_s = time.time() + 2 * DAY.total_seconds()
    os.utime(file, (later_s, later_s))
    assert "scratch/gate-1" not in clear(home).names
    assert clear(home, later=timedelta()).count == 0
    assert file.exists()


def test_a_link_out_of_the_folder_is_not_followed(home, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept").write_text("kept")
    (home / "scratch/gate-1/link").symlink_to(outside, target_is_directory=True)
    (home / "scratch/link").symlink_to(outside, target_is_directory=True)
    assert {"scratch/gate-1", "scratch/link"} <= set(clear(home).names)
    assert not (home / "scratch/link").is_symlink()
    assert (outside / "kept").read_text() == "kept"


def test_a_home_without_any_is_fine_and_an_age_below_zero_is_not(tmp_path):
    assert clear(tmp_path).count == 0
    with pytest.raises(ValueError, match="negative"):
        clear_leftovers(tmp_path, -DAY)
