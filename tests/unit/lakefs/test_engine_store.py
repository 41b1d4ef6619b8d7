"""The store: grouped writes, snapshots, and a file that is found again."""

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include.stack.lakefs.engine.staging import new_token
from include.stack.lakefs.engine.store import Store, Transaction


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "metadata.db")
    yield opened
    opened.close()


def add(name: str):
    return lambda tx: tx.execute("INSERT INTO tags VALUES (1, ?, 'c')", (name,))


def names(store: Store) -> list[str]:
    with store.snapshot() as tx:
        return [name for (name,) in tx.execute("SELECT name FROM tags ORDER BY name")]


def test_a_write_that_raises_undoes_itself_alone(store: Store) -> None:
    def add_and_raise(tx: Transaction) -> None:
        add("lost")(tx)
        raise ValueError("no")

    store.write(add("first"))
    with pytest.raises(ValueError, match="no"):
        store.write(add_and_raise)
    store.write(add("second"))
    assert names(store) == ["first", "second"]


def test_waiting_writes_share_a_transaction_and_one_that_raises_leaves_the_others(store: Store) -> None:
    started, go_on = threading.Event(), threading.Event()
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)

    def hold(tx: Transaction) -> None:
        started.set()
        assert go_on.wait(30)

    def refuse(tx: Transaction) -> None:
        add("refused")(tx)
        raise ValueError("refused")

    with ThreadPoolExecutor(20) as pool:
        holding = pool.submit(store.write, hold)
        assert started.wait(30)
        waiting = [pool.submit(store.write, add(f"n{number:02d}")) for number in range(10)]
        refused = pool.submit(store.write, refuse)
        while len(store._jobs) < 11:
            pass
        go_on.set()
        holding.result()
        for job in waiting:
            job.result()
        with pytest.raises(ValueError, match="refused"):
            refused.result()
    assert names(store) == [f"n{number:02d}" for number in range(10)]
    assert statements.count("COMMIT") == 2  # the one that held, and all others together


def test_when_the_file_fails_nobody_is_told_that_it_was_written(store: Store) -> None:
    store.write(add("kept"))
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count={pages}")  # the disk is full
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.write(lambda tx: tx.execute("INSERT INTO chunks VALUES (1, x'00', zeroblob(1000000))"))
    store._writer.execute("PRAGMA max_page_count=1000000")
    store.write(add("later"))
    assert names(store) == ["kept", "later"]


def test_a_snapshot_does_not_see_later_writes(store: Store) -> None:
    store.write(add("a"))
    with store.snapshot() as tx:
        before = tx.execute("SELECT count(*) FROM tags").fetchone()
        store.write(add("b"))
        assert tx.execute("SELECT count(*) FROM tags").fetchone() == before == (1,)
    assert names(store) == ["a", "b"]


def test_tokens_are_never_given_out_twice(store: Store) -> None:
    tokens = [store.write(new_token) for _ in range(3)]
    store.close()
    reopened = Store(store._path)
    assert reopened.write(new_token) > tokens[2] > tokens[1] > tokens[0]
    reopened.close()


def test_the_file_is_private_durable_and_reopened(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metadata.db"
    first = Store(path)
    first.write(add("kept"))
    assert first._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert first._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    first.close()
    again = Store(path)
    assert names(again) == ["kept"]
    again.close()


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="schema 99"):
        Store(path)
