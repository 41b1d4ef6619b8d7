"""What killed tasks left in the state folder: scratch of builds, landings and gates that nobody will finish.

A task that ends clears its own scratch away, so what is there belongs to a running task or to a dead one.
Airflow ends a try after its time limit: what nothing has touched for longer belongs to nobody.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from include.spec.refs import Freed

SCRATCH = "scratch"
# Folders that Python names itself; anything else there belongs to a server that is running.
TEMPORARY = "airflow/tmp/tmp*/"
DBT = "tmp/dbt"
NAMED = 20


def clear_leftovers(
    home: Path, older_than: timedelta, *, now_s: float | None = None, dry_run: bool = False
) -> Freed:
    """Delete scratch that nothing has touched for so long, and what dbt parsed of other versions.

    Args:
        home: The state folder.
        older_than: Longer than any task runs.
        now_s: The time to judge by, in seconds since the epoch; of this machine by default.
        dry_run: Only count.

    Raises:
        ValueError: The age is negative.
    """
    if older_than < timedelta():
        raise ValueError(f"an age cannot be negative: {older_than}")
    before_s = (time.time() if now_s is None else now_s) - older_than.total_seconds()
    found = sorted(path for path in _candidates(home) if _touched_s(path) < before_s)
    size_bytes = sum(_size_bytes(path) for path in found)
    if not dry_run:
        for path in found:
            _delete(path)
    names = tuple(path.relative_to(home).as_posix() for path in found[:NAMED])
    return Freed("leftovers", len(found), size_bytes, dry_run, names)


def _candidates(home: Path) -> Iterator[Path]:
    from include.features.project import manifest_hash

    yield from (home / SCRATCH).glob("*")
    yield from home.glob(TEMPORARY)
    yield from (home / DBT).glob("build-*")
    # What a run parsed and died before it could give it its name; other versions of the project.
    yield from (home / DBT).glob("*/*.msgpack.*")
    in_use = manifest_hash()[:16]
    yield from (path.parent for path in (home / DBT).glob("*/*.msgpack") if path.parent.name != in_use)


def _touched_s(path: Path) -> float:
    """When anything in it was last written, made, linked or renamed; links are not followed."""
    return _over_all(path, max, lambda stat: max(stat.st_mtime, stat.st_ctime))


def _size_bytes(path: Path) -> int:
    return round(_over_all(path, lambda one, other: one + other, lambda stat: float(stat.st_size)))


def _over_all(
    path: Path, fold: Callable[[float, float], float], measure: Callable[[os.stat_result], float]
) -> float:
    total = 0.0
    inside = (Path(folder) / name for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for one in (path, *inside):
        with suppress(FileNotFoundError):  # its task is clearing it away
            total = fold(total, measure(one.lstat()))
    return total


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
