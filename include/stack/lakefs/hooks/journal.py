"""The record of hook runs, kept in a SQLite file beside the store."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from include.stack.lakefs.model import NotFound, Page

KEPT_RUNS = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  repository TEXT NOT NULL, run_id TEXT NOT NULL, branch TEXT NOT NULL, event TEXT NOT NULL,
  commit_id TEXT NOT NULL, start_time TEXT NOT NULL, end_time TEXT NOT NULL, passed INTEGER NOT NULL,
  PRIMARY KEY (repository, run_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hook_run (
  repository TEXT NOT NULL, run_id TEXT NOT NULL, hook_run_id TEXT NOT NULL, action TEXT NOT NULL,
  hook_id TEXT NOT NULL, start_time TEXT, end_time TEXT, status TEXT NOT NULL, output TEXT NOT NULL,
  PRIMARY KEY (repository, run_id, hook_run_id)) WITHOUT ROWID;
"""


class Run(msgspec.Struct):
    """One run: all hooks of one event."""

    run_id: str
    branch: str
    event_type: str
    commit_id: str
    start_time: str
    end_time: str
    status: str


class HookRun(msgspec.Struct, omit_defaults=True):
    """One hook of a run; a skipped one has no end."""

    hook_run_id: str
    action: str
    hook_id: str
    start_time: str
    status: str
    end_time: str | None = None


class Outcome(msgspec.Struct):
    """What a hook came to, as it is written down."""

    hook_run_id: str
    action: str
    hook_id: str
    start_time: str
    end_time: str
    status: str
    output: str


def new_run_id() -> str:
    """An id that sorts before all earlier ones."""
    return f"{2**48 - int(time.time() * 1000):012x}{secrets.token_hex(4)}"


class Journal:
    """Writes and reads runs; thread-safe.

    Args:
        path: The SQLite file, created if absent.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def write(self, repository: str, run: Run, outcomes: Sequence[Outcome]) -> None:
        """Record a run; the oldest beyond 10,000 of a repository are dropped."""
        with self._lock, self._transaction():
            self._db.execute(
                "INSERT INTO run VALUES (?,?,?,?,?,?,?,?)",
                (
                    repository,
                    run.run_id,
                    run.branch,
                    run.event_type,
                    run.commit_id,
                    run.start_time,
                    run.end_time,
                    run.status == "completed",
                ),
            )
            self._db.executemany(
                "INSERT INTO hook_run VALUES (?,?,?,?,?,?,?,?,?)",
                [(repository, run.run_id, *msgspec.structs.astuple(outcome)) for outcome in outcomes],
            )
            self._drop_oldest(repository)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _drop_oldest(self, repository: str) -> None:
        beyond = self._db.execute(
            "SELECT run_id FROM run WHERE repository = ? ORDER BY run_id LIMIT 1 OFFSET ?",
            (repository, KEPT_RUNS),
        ).fetchone()
        if beyond is not None:
            for table in ("run", "hook_run"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE repository = ? AND run_id >= ?",  # noqa: S608
                    (repository, beyond[0]),
                )

    def name_commit(self, repository: str, run_id: str, commit_id: str) -> None:
        """Record which commit came of a run that had to pass before there was one."""
        with self._lock:
            self._db.execute(
                "UPDATE run SET commit_id = ? WHERE repository = ? AND run_id = ?",
                (commit_id, repository, run_id),
            )

    def forget(self, repository: str) -> None:
        """Drop all runs of a deleted repository."""
        with self._lock:
            for table in ("run", "hook_run"):
                self._db.execute(f"DELETE FROM {table} WHERE repository = ?", (repository,))  # noqa: S608

    def runs(
        self, repository: str, *, branch: str = "", commit_id: str = "", after: str = "", amount: int = 100
    ) -> Page[Run]:
        """List runs, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT run_id, branch, event, commit_id, start_time, end_time, passed FROM run "
                "WHERE repository = ? AND run_id > ? "
                "AND (? = '' OR branch = ?) AND (? = '' OR commit_id = ?) ORDER BY run_id LIMIT ?",
                (repository, after, branch, branch, commit_id, commit_id, amount + 1),
            ).fetchall()
        found = [_run(row) for row in rows[:amount]]
        more = len(rows) > amount
        return Page(found, has_more=more, next_offset=found[-1].run_id if more else "")

    def run(self, repository: str, run_id: str) -> Run:
        """One run.

        Raises:
            NotFound: There is none of that id.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT run_id, branch, event, commit_id, start_time, end_time, passed FROM run "
                "WHERE repository = ? AND run_id = ?",
                (repository, run_id),
            ).fetchone()
        if row is None:
            raise NotFound(f"run id {run_id}: not found")
        return _run(row)

    def hook_runs(self, repository: str, run_id: str, *, after: str = "", amount: int = 100) -> Page[HookRun]:
        """List the hooks of a run, in order.

        Raises:
            NotFound: There is no such run.
        """
        self.run(repository, run_id)
        with self._lock:
            rows = self._db.execute(
                "SELECT hook_run_id, action, hook_id, start_time, status, end_time FROM hook_run "
                "WHERE repository = ? AND run_id = ? AND hook_run_id > ? ORDER BY hook_run_id LIMIT ?",
                (repository, run_id, after, amount + 1),
            ).fetchall()
        found = [HookRun(row[0], row[1], row[2], row[3], row[4], row[5] or None) for row in rows[:amount]]
        more = len(rows) > amount
        return Page(found, has_more=more, next_offset=found[-1].hook_run_id if more else "")

    def output(self, repository: str, run_id: str, hook_run_id: str) -> str:
        """What a hook was asked and what it answered.

        Raises:
            NotFound: There is no such hook run.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT output FROM hook_run WHERE repository = ? AND run_id = ? AND hook_run_id = ?",
                (repository, run_id, hook_run_id),
            ).fetchone()
        if row is None:
            raise NotFound(f"hook run id {run_id}/{hook_run_id}: not found")
        return str(row[0])


def _run(row: Sequence[str]) -> Run:
    run_id, branch, event, commit_id, start_time, end_time, passed = row
    return Run(run_id, branch, event, commit_id, start_time, end_time, "completed" if passed else "failed")
