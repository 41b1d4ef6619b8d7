"""One SQLite file: parallel snapshots to read from, and grouped transactions to write with."""

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Transaction = sqlite3.Connection
"""A connection inside a transaction: a snapshot that nothing changes, or the one writer."""

GROUP_MAX = 256
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE repositories (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, storage_namespace TEXT NOT NULL,
    default_branch TEXT NOT NULL, creation_date INTEGER NOT NULL, read_only INTEGER NOT NULL
);
CREATE TABLE metadata (
    repository INTEGER, key TEXT, value TEXT NOT NULL, PRIMARY KEY (repository, key)
) WITHOUT ROWID;
CREATE TABLE documents (
    repository INTEGER, name TEXT, body BLOB NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE TABLE branches (
    repository INTEGER, name TEXT, commit_id TEXT NOT NULL, token INTEGER NOT NULL, sealed BLOB NOT NULL,
    hidden INTEGER NOT NULL, PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE TABLE tags (
    repository INTEGER, name TEXT, commit_id TEXT NOT NULL, PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE TABLE commits (
    repository INTEGER, id TEXT, record BLOB NOT NULL, PRIMARY KEY (repository, id)
) WITHOUT ROWID;
CREATE TABLE staged (
    token INTEGER, path TEXT, identity BLOB, record BLOB, PRIMARY KEY (token, path)
) WITHOUT ROWID;
CREATE TABLE chunks (repository INTEGER, id BLOB, body BLOB NOT NULL, PRIMARY KEY (repository, id));
CREATE TABLE addresses (
    repository INTEGER, address TEXT, expires_at INTEGER NOT NULL, PRIMARY KEY (repository, address)
) WITHOUT ROWID;
CREATE TABLE gone (repository INTEGER, address TEXT, PRIMARY KEY (repository, address)) WITHOUT ROWID;
CREATE TABLE tokens (last INTEGER NOT NULL);
INSERT INTO tokens VALUES (0);
"""
REPOSITORY_TABLES = ("metadata", "documents", "branches", "tags", "commits", "chunks", "addresses", "gone")


class Store:
    """The open file.

    WAL with synchronous=FULL: a write that returned is on disk, and kill -9 at any moment leaves the
    last acknowledged state.

    Args:
        path: The SQLite file, created if absent, with mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._jobs: deque[_Job[Any]] = deque()
        self._writer = self._connect()
        self._create()

    def close(self) -> None:
        """Close the file after the write under way."""
        with self._lock:
            self._writer.close()
            while self._idle:
                self._idle.pop().close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Read one consistent state, whatever is written meanwhile."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")
            self._idle.append(connection)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a write transaction and return what it returns once that is durable.

        Calls that wait for each other share one transaction and one sync: whoever gets the lock runs
        all that queued meanwhile, each behind its own savepoint, so that one that raises undoes only
        its own writes. `work` must be short and do no I/O but through its argument.

        Raises:
            Exception: What `work` raised, or sqlite3.Error if the transaction could not be stored
                (a full disk); nothing was written then.
        """
        job = _Job(work)
        self._jobs.append(job)
        while not job.done:
            with self._lock:
                if not job.done:
                    self._run_group([self._jobs.popleft() for _ in range(min(len(self._jobs), GROUP_MAX))])
        if job.error is not None:
            raise job.error
        return job.result

    def _run_group(self, jobs: "list[_Job[Any]]") -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.run(self._writer)
            self._writer.execute("COMMIT")
        except BaseException as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            cause = error if isinstance(error, Exception) else sqlite3.OperationalError("interrupted")
            for job in jobs:
                job.error = job.error or cause
            if not isinstance(error, Exception):
                raise
        finally:
            for job in jobs:
                job.done = True

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=60, cached_statements=256
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=4000",
            "journal_size_limit=67108864",
            "cache_size=-8192",
            "mmap_size=268435456",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _create(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        if version:
            raise sqlite3.DatabaseError(
                f"{self._path} has schema {version}, this program reads {SCHEMA_VERSION}"
            )
        self._writer.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")


class _Job(Generic[T]):
    """A piece of work and what came of it."""

    result: T

    def __init__(self, work: Callable[[Transaction], T]) -> None:
        self.work = work
        self.done = False
        self.error: Exception | None = None

    def run(self, transaction: Transaction) -> None:
        transaction.execute("SAVEPOINT job")
        try:
            self.result = self.work(transaction)
        except sqlite3.Error:
            raise  # the file itself fails: nothing of the group may be stored
        except Exception as error:  # noqa: BLE001  # it belongs to the caller, who gets it
            self.error = error
            transaction.execute("ROLLBACK TO job")
        transaction.execute("RELEASE job")
