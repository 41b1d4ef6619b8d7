"""The stream that holds a slot: the same changes as a read gives, moved on by nothing but what main holds."""

import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, cast

import psutil
import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from include.ingestion.connectors import postgres_receive, postgres_stream
from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.connectors.postgres_cdc import advance, read_window
from include.ingestion.connectors.postgres_slot import (
    Feed,
    SlotError,
    SlotInUse,
    create_publication,
    drop_slot,
    slot_state,
)
from include.ingestion.connectors.postgres_stream import OutOfStep, Tail, tailing
from include.ingestion.pgoutput import CdcError, Decoded, LogicalMessage, LogPosition, SchemaChange, parse_lsn
from include.stack import postgres as pg
from include.stack.credentials import password
from include.stack.ports import free_ports
from include.stack.server import running
from tests.integration.cdc.conftest import Source, rows

pytestmark = pytest.mark.integration

DEADLINE_S = 20.0
MIB = 2**20
# More log than a large transaction writes: with less, the server may tell of a log that holds nothing so far
# before it comes to the commit.
ROOM = 256 * MIB
BIG = "repeat(md5(random()::text), 300)"
# Everything that a log can bring, in one history.
HISTORY = (
    "INSERT INTO t VALUES (1, 'one', NULL), (2, 'two', repeat(md5('2'), 300))",
    "UPDATE t SET note = 'due' WHERE id = 2; UPDATE t SET id = 3 WHERE id = 1",
    "INSERT INTO elsewhere VALUES (1)",
    "BEGIN; INSERT INTO t VALUES (9, 'gone', NULL); ROLLBACK",
    "SELECT pg_logical_emit_message(true, 'app', 'within')",
    "SELECT pg_logical_emit_message(false, 'app', 'outside')",
    "BEGIN; INSERT INTO u VALUES (1, 'a'); SAVEPOINT s; INSERT INTO u VALUES (2, 'b'); ROLLBACK TO s; COMMIT",
    "INSERT INTO t VALUES (4, 'four', NULL); UPDATE u SET mood = 'b'",
    "ALTER TABLE t ADD city text; UPDATE t SET city = 'Oslo' WHERE id = 2",
    "ALTER TABLE t RENAME note TO remark; INSERT INTO t VALUES (5, 'five', NULL, 'Rome')",
    "ALTER TABLE t ALTER id TYPE bigint; DELETE FROM t WHERE id = 3",
    "INSERT INTO p VALUES (1, 1), (2, 150); UPDATE p SET v = 250 WHERE id = 1",
    "TRUNCATE t, u",
    "ALTER TABLE t DROP city; INSERT INTO t VALUES (6, 'six', NULL)",
)


@pytest.fixture
def table(source: Source) -> Source:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, filler text); CREATE TABLE elsewhere (filler text)")
    source.publish("t")
    return source


def tail_of(source: Source, **options: Any) -> AbstractContextManager[Tail]:
    assert source.at is not None
    return tailing(source.feed, source.at, **{"longest_s": 60.0, "idle_bytes": MIB, **options})


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def take(tail: Tail, at: LogPosition, **options: Any) -> tuple[list[Decoded], LogPosition]:
    """The next window, which must come, and how far it went."""
    assert tail.pending(DEADLINE_S)
    window = tail.read(tail.feed, at, **options)
    return list(window), window.position


def everything(tail: Tail, at: LogPosition) -> tuple[list[Decoded], LogPosition]:
    """All that was committed by now, as if each window were published; the slot stays."""
    found: list[Decoded] = []
    # It keeps the end of the log as it was first asked since the last window.
    tail._end = 0
    while not tail.caught_up():
        if tail.pending(0.05):
            decoded, at = take(tail, at)
            found += decoded
    return found, at


def ids(decoded: list[Decoded]) -> list[int]:
    return [change["row"]["id"] for change in rows(batch for part in decoded for batch in part.changes)]


def confirmed(source: Source) -> int:
    return slot_state(source.feed).confirmed


def said(decoded: list[Decoded]) -> dict[str, Any]:
    """Changes by table, in order, and all else, whatever batches they came in."""
    events = [event for part in decoded for event in part.events]
    changes: dict[str, list[pa.Table]] = {}
    for part in decoded:
        for batch in part.changes:
            changes.setdefault(batch.shape.name + str(batch.data.schema), []).append(batch.data)
    return {
        "changes": {name: pa.Table.from_batches(parts).to_pylist() for name, parts in changes.items()},
        "shapes": [event for event in events if isinstance(event, SchemaChange)],
        "messages": [event for event in events if isinstance(event, LogicalMessage) and event.transactional],
    }


def test_a_stream_says_what_a_read_says(source):
    source.execute("CREATE TYPE mood AS ENUM ('a', 'b')")
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, note text, big text); CREATE TABLE elsewhere (id int)"
    )
    source.execute(
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL; CREATE TABLE u (id int PRIMARY KEY, mood mood)"
    )
    source.execute("CREATE TABLE p (id int, v int, PRIMARY KEY (id, v)) PARTITION BY RANGE (v)")
    source.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
    source.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (1000)")
    source.publish("t", "u", "p")
    for part in HISTORY:
        source.execute(part)
    with tail_of(source) as tail:
        parts, reached = everything(tail, source.at)
        for part in ("INSERT INTO t VALUES (7, 'seven', NULL)", "ALTER TABLE t ADD x int; DELETE FROM t"):
            source.execute(part)
        more, last = everything(tail, reached)
    assert last.lsn > reached.lsn > source.at.lsn
    window = read_window(source.feed, source.at)
    peeked, streamed = said(list(window)), said([*parts, *more])
    changes = [change for table in peeked["changes"].values() for change in table]
    assert {change["operation"] for change in changes} == {"insert", "update", "delete", "truncate"}
    assert len(changes) >= 18
    assert len(peeked["shapes"]) >= 4
    assert len(peeked["messages"]) == 1
    assert streamed == peeked


def test_the_slot_moves_to_what_is_confirmed_and_to_nothing_else(table):
    begin = table.at
    with tail_of(table) as tail:
        table.execute("INSERT INTO t VALUES (1)")
        decoded, first = take(tail, begin)
        assert ids(decoded) == [1]
        table.execute("INSERT INTO t VALUES (2)")
        tail.confirm(first)
        decoded, second = take(tail, first)
        assert ids(decoded) == [2]
        wait_until(lambda: confirmed(table) == first.lsn, "the position that was confirmed")
    assert confirmed(table) == first.lsn
    assert table.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (table.feed.slot,))
    # What was published before and was not confirmed is left out.
    table.at = second
    with tail_of(table) as tail:
        table.execute("INSERT INTO t VALUES (3)")
        assert ids(take(tail, second)[0]) == [3]


def test_a_transaction_beyond_all_bounds_is_given_whole_and_in_parts(table, monkeypatch):
    """Buffer and batches are far smaller than it, so the server has to wait for the reader."""
    monkeypatch.setattr(postgres_stream, "BATCH_BYTES", MIB // 4)
    monkeypatch.setattr(postgres_receive, "BUFFER_BYTES", MIB)
    monkeypatch.setattr(postgres_receive, "_SHARE_BYTES", MIB // 4)
    held = 0
    with tail_of(table, idle_bytes=ROOM) as tail:
        table.execute("INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
        table.execute("INSERT INTO t VALUES (20001)")
        assert tail.pending(DEADLINE_S)
        parts = []
        window = tail.read(table.feed, table.at, window_bytes=1000)
        for decoded in window:
            parts.append(decoded)
            held = max(held, tail.receiver._size)
        assert ids(parts) == list(range(1, 20001))
        assert ids(take(tail, window.position)[0]) == [20001]
    assert len(parts) > 20
    assert MIB // 2 < held < 2 * MIB


def test_windows_end_with_a_transaction_at_their_bound_or_their_time(table):
    ends = []
    for number in range(10):
        table.execute("INSERT INTO t VALUES (%s)", (number,))
        ends.append(parse_lsn(table.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]))
    with tail_of(table) as tail:
        wait_until(lambda: len(tail.receiver._messages) >= 30, "all of them")
        first, at = take(tail, table.at, window_bytes=ends[1] + 1 - table.at.lsn)
        second, at = take(tail, at, window_bytes=1)
        tail.longest_s = 0
        third, at = take(tail, at)
        tail.longest_s = 60
        rest, at = take(tail, at)
    assert [ids(part) for part in (first, second, third, rest)] == [[0, 1, 2], [3], [4], [5, 6, 7, 8, 9]]


def test_log_of_other_tables_moves_the_position_without_a_change(table):
    with tail_of(table, idle_bytes=100_000) as tail:
        assert not tail.pending()
        table.execute("INSERT INTO elsewhere SELECT repeat('x', 500) FROM generate_series(1, 400)")
        decoded, at = take(tail, table.at)
        assert decoded == []
        assert at.lsn - table.at.lsn > 100_000
        tail.confirm(at)
        assert not tail.pending()
        wait_until(lambda: confirmed(table) == at.lsn, "the position alone")
        wait_until(tail.caught_up, "the end of the log")


def test_a_stream_that_is_not_where_main_is_says_so(table):
    with tail_of(table) as tail:
        # A window of no change is published by nobody, and main stays.
        empty = tail.read(table.feed, table.at)
        assert list(empty) == []
        table.execute("INSERT INTO t VALUES (1)")
        _, reached = take(tail, table.at)
        for other in (table.at, replace(reached, lsn=reached.lsn + 8)):
            with pytest.raises(OutOfStep):
                tail.read(table.feed, other)
        with pytest.raises(OutOfStep):
            tail.confirm(replace(reached, publication=1))
        table.execute("INSERT INTO t VALUES (2)")
        assert tail.pending(DEADLINE_S)
        broken = cast("Generator[Decoded]", tail.read(table.feed, reached).changes)
        next(broken)
        broken.close()
        with pytest.raises(OutOfStep):
            tail.read(table.feed, reached)
        # Another run published meanwhile.
        table.execute("INSERT INTO t VALUES (3)")
    with tail_of(table) as tail:
        assert ids(everything(tail, table.at)[0]) == [1, 2, 3]


def hear_of_it(tail: Tail) -> None:
    """Wait until the stream ends, which raises."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        tail.pending()
        time.sleep(0.05)


def test_a_stream_that_is_cut_is_begun_again_and_loses_nothing(table):
    with tail_of(table) as tail:
        table.execute("INSERT INTO t VALUES (1)")
        _, at = take(tail, table.at)
        table.execute("INSERT INTO t VALUES (2)")
        with psycopg.connect(table.superuser_dsn, autocommit=True) as server:
            server.execute("SELECT pg_terminate_backend(%s)", (tail.receiver.pid,))
        with pytest.raises(DatabaseError, match="terminating connection"):
            hear_of_it(tail)
    with tail_of(table) as tail:
        assert ids(everything(tail, table.at)[0]) == [1, 2]
    table.at = at
    with tail_of(table) as tail:
        assert ids(everything(tail, at)[0]) == [2]


@pytest.mark.parametrize("waits", ["reader", "server"])
def test_the_server_is_answered_while_a_publish_takes_long(table, monkeypatch, waits):
    """Longer than wal_sender_timeout, with nothing to send and with more than we can hold."""
    if waits == "server":
        monkeypatch.setattr(postgres_receive, "BUFFER_BYTES", 1000)
    patient = replace(
        table, feed=replace(table.feed, dsn=f"{table.feed.dsn}?options=-cwal_sender_timeout%3D3000")
    )
    many = 20 if waits == "reader" else 40_000
    with tail_of(patient, idle_bytes=ROOM) as tail:
        table.execute(f"INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, {many}) n")
        assert tail.pending(DEADLINE_S)
        began = time.monotonic()
        while time.monotonic() - began < 6.5:  # a publish
            time.sleep(0.1)
        decoded, at = take(tail, table.at)
        assert len(ids(decoded)) == many
        tail.confirm(at)
        table.execute("INSERT INTO t VALUES (0)")
        assert ids(take(tail, at)[0]) == [0]


def test_a_server_that_shuts_down_does_not_wait_for_main(tmp_path):
    """It waits for what was confirmed last, for ever: main is always behind the log of other tables."""
    access = pg.PostgresAccess(free_ports(1)[0], {role: password() for role in (pg.SUPERUSER, "retail")})
    feed = Feed(access.dsn("retail"), "retail", "all", "ours")
    with (
        running(pg.server(tmp_path / "postgres", access)),
        psycopg.connect(feed.dsn, autocommit=True) as connection,
    ):
        source = Source(feed, access.dsn(), connection)
        source.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE elsewhere (id int)")
        source.publish("t")
        assert source.at is not None
        with tail_of(source) as tail:
            source.execute("INSERT INTO t VALUES (1)")
            _, at = take(tail, source.at)
            tail.confirm(at)
            source.execute("INSERT INTO t VALUES (2); INSERT INTO elsewhere VALUES (1)")
            take(tail, at)
            server = psutil.Process(int((tmp_path / "postgres/data/postmaster.pid").read_text().split()[0]))
            server.send_signal(signal.SIGINT)
            with pytest.raises(DatabaseError):
                hear_of_it(tail)
            wait_until(lambda: server.status() == psutil.STATUS_ZOMBIE, "its end")


@contextmanager
def in_use() -> Iterator[None]:
    with pytest.raises(SlotInUse, match="somebody follows it"):
        yield


def test_who_else_reads_a_slot_that_is_held_is_told_so(table, monkeypatch):
    monkeypatch.setattr("include.ingestion.connectors.postgres_slot.RELEASE_S", 0.1)
    with tail_of(table) as tail:
        table.execute("INSERT INTO t VALUES (1)")
        _, at = take(tail, table.at)
        with in_use():
            list(read_window(table.feed, table.at))
        with in_use():
            advance(table.feed, at)
        with in_use(), tail_of(table):
            pass
        assert slot_state(table.feed, table.at).wal_status == "reserved"
        with pytest.raises(CdcError):
            drop_slot(table.feed)
        tail.confirm(at)
    # Free as soon as the block has ended.
    advance(table.feed, at)
    assert confirmed(table) == at.lsn


def test_a_slot_or_publication_that_is_not_mains_is_loud_before_anything_is_read(table):
    def refused(match: str, error: type[CdcError] = SlotError) -> None:
        with pytest.raises(error, match=match) as caught, tail_of(table):
            pass
        assert "headrace cdc reset" in str(caught.value)

    good = table.at
    table.at = replace(good, lsn=good.lsn + 2**40)
    refused("is behind the lake")
    table.at = replace(good, system="1")
    refused("on the cluster 1")
    table.at = replace(good, lsn=good.lsn - 8)
    refused("holds changes only up to")
    table.at = good
    table.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(table.feed.publication)))
    refused("does not exist", CdcError)
    create_publication(table.feed, [("public", "t")])
    refused("dropped and made again", CdcError)
    drop_slot(table.feed)
    refused("does not exist")
