"""Random histories against PostgreSQL itself: replaying the changes gives the table, at every commit."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ingestion.connectors.postgres_cdc import advance, read_window
from include.ingestion.connectors.postgres_slot import create_publication, create_slot
from include.ingestion.connectors.postgres_snapshot import read_range, snapshot_ranges
from include.ingestion.pgoutput import ChangeBatch, Decoded, LogPosition, SchemaChange
from tests.integration.cdc.conftest import Source, rows

pytestmark = pytest.mark.integration

Replica = dict[int, dict[str, Any]]


def replay(replica: Replica, change: dict[str, Any]) -> None:
    """One change of a table whose key is `id`; the strictness is what finds a loss or a repetition."""
    old, row = change["old"], change["row"]
    match change["operation"]:
        case "truncate":
            replica.clear()
        case "insert":
            assert row["id"] not in replica
            replica[row["id"]] = row
        case "update":
            before = replica.pop(old["id"] if old else row["id"])
            kept = {name: before[name] for name in change["unchanged"]}
            replica[row["id"]] = row | kept
        case "delete":
            del replica[old["id"]]
        case operation:
            raise AssertionError(operation)


def adapt(replica: Replica, change: SchemaChange) -> None:
    """What the reported change of shape does to rows that are there: the same as ALTER TABLE did."""
    renamed = dict(change.renamed)
    added = {column: None for column in change.added if column not in renamed.values()}
    dropped = {column for column in change.dropped if column not in renamed}
    for key, row in replica.items():
        kept = {renamed.get(name, name): value for name, value in row.items() if name not in dropped}
        replica[key] = kept | added


def replayed(decoded: list[Decoded], operations: set[str]) -> tuple[Replica, list[Replica]]:
    """The table after all changes, and as it was before and after each commit."""
    replica: Replica = {}
    states: list[Replica] = [{}]
    commit = None
    for event in [event for part in decoded for event in part.events]:
        if isinstance(event, SchemaChange):
            adapt(replica, event)
            continue
        assert isinstance(event, ChangeBatch)
        for change in rows([event]):
            if commit not in (None, change["commit_lsn"]):
                states.append(dict(replica))
            commit = change["commit_lsn"]
            replay(replica, change)
            operations.add(change["operation"])
    return replica, [*states, dict(replica)]


def narrow(state: Replica) -> dict[int, tuple[Any, ...]]:
    """The columns that no ALTER takes: what it gives old rows is the contract's affair."""
    return {key: (row["note"], row["big"]) for key, row in state.items()}


def distinct(states: list[Replica]) -> list[Replica]:
    return [state for at, state in enumerate(states) if at == 0 or narrow(state) != narrow(states[at - 1])]


STATEMENTS = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 3), st.sampled_from(["a", None, "é\n'"]), st.booleans()),
    st.tuples(st.just("update"), st.integers(0, 3), st.sampled_from(["b", None]), st.booleans()),
    st.tuples(st.just("move"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.integers(0, 3)),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("add"), st.sampled_from(["x", "y"])),
    st.tuples(st.just("drop"), st.sampled_from(["x", "y"])),
    st.tuples(st.just("rename"), st.sampled_from(["x", "y"]), st.sampled_from(["x", "y", "z"])),
)
TRANSACTIONS = st.lists(
    st.tuples(st.lists(STATEMENTS, min_size=3, max_size=8), st.sampled_from([True, True, False])),
    min_size=3,
    max_size=8,
)
BIG = "repeat(md5(random()::text), 100)"


def run(source: Source, table: str, statement: tuple[Any, ...]) -> None:
    match statement:
        case ("add" | "drop" | "rename", *_):
            alter(source, table, statement)
        case ("insert", key, note, big):
            value = BIG if big else "NULL"
            source.execute(
                f"INSERT INTO {table} (id, note, big) VALUES (%s, %s, {value}) ON CONFLICT DO NOTHING",
                (key, note),
            )
        case ("update", key, note, big):
            extra = f", big = {BIG}" if big else ""
            source.execute(f"UPDATE {table} SET note = %s{extra} WHERE id = %s", (note, key))
        case ("move", key, to):
            taken = source.execute(f"SELECT FROM {table} WHERE id = %s", (to,)).fetchone()
            if taken is None:
                source.execute(f"UPDATE {table} SET id = %s WHERE id = %s", (to, key))
        case ("delete", key):
            source.execute(f"DELETE FROM {table} WHERE id = %s", (key,))
        case ("truncate",):
            source.execute(f"TRUNCATE {table}")


def alter(source: Source, table: str, statement: tuple[Any, ...]) -> None:
    match statement:
        case ("add", name):
            source.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} text")
        case ("drop", name):
            source.execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {name}")
        case ("rename", name, to):
            names = columns(source, table)
            if name in names and to not in names:
                source.execute(f"ALTER TABLE {table} RENAME COLUMN {name} TO {to}")


def columns(source: Source, table: str) -> list[str]:
    names = source.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return [name for (name,) in names]


def content(source: Source, table: str) -> Replica:
    with source.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return {row["id"]: row for row in cursor.execute(f"SELECT * FROM {table}")}


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_replayed_histories_are_the_table_at_every_commit(source, identity):
    source.execute("CREATE TABLE first (id int PRIMARY KEY)")
    source.publish("first")
    publication = psycopg.sql.Identifier(source.feed.publication).as_string(None)
    operations: set[str] = set()
    commits: list[int] = []

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TRANSACTIONS, st.sampled_from([200, 16 * 2**20]))
    def history(transactions, batch_bytes):
        table = f"t_{uuid4().hex[:8]}"
        source.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, note text, big text, x text)")
        source.execute(f"ALTER TABLE {table} REPLICA IDENTITY {identity}, ALTER big SET STORAGE EXTERNAL")
        source.execute(f"ALTER PUBLICATION {publication} ADD TABLE {table}")
        expected: list[Replica] = []
        for statements, committed in transactions:
            with source.connection.transaction(force_rollback=not committed):
                for statement in statements:
                    run(source, table, statement)
            expected.append(content(source, table))
        replica, states = replayed(source.read(batch_bytes=batch_bytes), operations)
        assert narrow(replica) == narrow(expected[-1])
        # Every state between two commits of ours is one that the table had, in this order.
        wanted = iter([{}, *expected])
        assert all(any(narrow(state) == narrow(other) for other in wanted) for state in distinct(states))
        commits.append(len(expected))
        source.execute(f"DROP TABLE {table}")

    history()
    assert len(commits) >= 20
    assert operations == {"insert", "update", "delete", "truncate"}


def follow(source: Source, position: LogPosition, replica: Replica) -> tuple[LogPosition, int]:
    window = read_window(source.feed, position)
    changes = rows(batch for part in window for batch in part.changes)
    for change in changes:
        replay(replica, change)
    return window.position, len(changes)


@pytest.mark.parametrize("partitioned", [False, True])
def test_snapshot_and_changes_are_the_source_while_somebody_writes(source, partitioned):
    """Slot and snapshot begin amid writes: nothing is lost between them, nothing comes twice."""
    by = " PARTITION BY HASH (id)" if partitioned else ""
    source.execute(f"CREATE TABLE t (id int PRIMARY KEY, n int, filler text){by}")
    for part in range(2 if partitioned else 0):
        source.execute(f"CREATE TABLE t{part} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {part})")
    source.execute("INSERT INTO t SELECT g, 0, repeat('x', 200) FROM generate_series(1, 4000) g")
    create_publication(source.feed, [("public", "t")])
    stop, dice = threading.Event(), random.Random(7)

    def write() -> int:
        transactions = 0
        with psycopg.connect(source.feed.dsn) as connection:
            while not stop.is_set():
                key = dice.randrange(1, 6000)
                connection.execute("DELETE FROM t WHERE id = %s", (key,))
                connection.execute("INSERT INTO t VALUES (%s, 1, 'new')", (key,))
                connection.execute("UPDATE t SET n = n + 1 WHERE id = %s", (dice.randrange(1, 6000),))
                connection.execute("DELETE FROM t WHERE id = %s", (dice.randrange(1, 6000),))
                connection.commit()
                transactions += 1
        return transactions

    with ThreadPoolExecutor(3) as workers:
        writer = workers.submit(write)
        try:
            with create_slot(source.feed) as slot:
                ranges = snapshot_ranges(source.feed, range_bytes=2**17)
                read = workers.map(lambda part: list(read_range(source.feed, slot, part)), ranges)
                batches = [batch for part in read for batch in part]
            replica: Replica = {}
            for change in rows(batches):
                assert change["row"]["id"] not in replica
                replica[change["row"]["id"]] = change["row"]
            position, changes = slot.position, 0
            for _ in range(6):
                position, found = follow(source, position, replica)
                changes += found
                advance(source.feed, position)
        finally:
            stop.set()
        assert writer.result() > 10
    follow(source, position, replica)
    assert len(ranges) > 4
    assert changes > 10
    assert replica == content(source, "t")
