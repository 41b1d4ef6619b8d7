"""Slots: held until the lake has it, and loud wherever they do not hold what the lake lacks."""

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.connectors.postgres_cdc import advance, read_window
from include.ingestion.connectors.postgres_slot import (
    SlotError,
    create_publication,
    create_slot,
    drop_slot,
    slot_state,
)
from include.ingestion.pgoutput import CdcError, LogPosition
from include.stack.postgres import binary
from tests.integration.cdc.conftest import Source

pytestmark = pytest.mark.integration


@pytest.fixture
def table(source: Source) -> Source:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, filler text)")
    source.publish("t")
    return source


def ids(source: Source, **options) -> list[int]:
    return [change["row"]["id"] for change in source.changes(**options)]


def test_a_read_moves_nothing_and_advance_moves_to_what_is_published(table):
    begin = table.at
    table.execute("INSERT INTO t VALUES (1)")
    assert ids(table) == [1]
    table.at = begin
    assert ids(table) == [1], "reading again gives the same"
    published = table.at
    table.execute("INSERT INTO t VALUES (2)")
    advance(table.feed, published)
    advance(table.feed, published)
    assert slot_state(table.feed, published).confirmed == published.lsn
    assert ids(table) == [2]


def test_what_was_published_before_a_crash_is_not_given_twice(table):
    """The slot was not advanced after the merge: it gives everything again, and we leave it out."""
    table.execute("INSERT INTO t VALUES (1)")
    with table.connection.transaction():
        table.execute("INSERT INTO t VALUES (2)")
        table.execute("UPDATE t SET id = 3 WHERE id = 2")
    assert ids(table) == [1, 2, 3]
    table.execute("INSERT INTO t VALUES (4)")
    assert ids(table) == [4]
    assert ids(table) == []


def test_windows_bound_the_log_that_is_read_and_lose_nothing(table):
    for start in range(0, 200, 10):
        table.execute(
            f"INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series({start}, {start + 9}) g"
        )
    parts = []
    for _ in range(100):
        parts.append(ids(table, window_bytes=20_000))
        if not parts[-1]:
            break
    assert [found for part in parts for found in part] == list(range(200))
    assert len(parts) > 4
    assert max(map(len, parts)) < 100


def test_a_window_that_ends_within_a_transaction_grows_until_it_has_it(table):
    table.execute("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 500) g")
    assert ids(table, window_bytes=1_000) == list(range(1, 501))


def test_an_open_transaction_is_given_when_it_commits(table):
    with psycopg.connect(table.feed.dsn) as other:
        other.execute("INSERT INTO t VALUES (1)")
        table.execute("INSERT INTO t VALUES (2)")
        assert ids(table) == [2]
        advance(table.feed, table.at)
    assert ids(table) == [1]


def test_a_position_survives_its_text(table):
    assert LogPosition.of(table.at.position) == table.at
    assert table.at.position.kind == "lsn"


def test_what_the_server_keeps_for_the_slot_is_measured(table):
    before = slot_state(table.feed, table.at)
    table.execute("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 2000) g")
    after = slot_state(table.feed, table.at)
    assert after.behind_bytes - before.behind_bytes > 1_000_000
    assert after.retained_bytes >= after.behind_bytes
    assert after.wal_status == "reserved"
    ids(table)
    advance(table.feed, table.at)
    assert slot_state(table.feed, table.at).behind_bytes < 100_000


def refused(source: Source, match: str, error: type[CdcError] = SlotError) -> None:
    """Both a read and an advance stop, and neither makes a slot."""

    assert source.at is not None
    at = source.at

    def slots() -> Any:
        return source.execute(
            "SELECT slot_name, confirmed_flush_lsn FROM pg_replication_slots ORDER BY 1"
        ).fetchall()

    before = slots()
    for act in (lambda: list(read_window(source.feed, at)), lambda: advance(source.feed, at)):
        with pytest.raises(error, match=match) as caught:
            act()
        assert caught.value.remedy
        assert "postgresql://" not in str(caught.value)
    assert slots() == before


def test_a_dropped_slot_is_loud(table):
    drop_slot(table.feed)
    refused(table, "does not exist.*new slot")


def test_a_slot_that_was_made_again_is_loud(table):
    drop_slot(table.feed)
    table.execute("INSERT INTO t VALUES (1)")
    table.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (table.feed.slot,))
    refused(table, "begins at .* holds changes only up to")


def test_a_slot_that_somebody_else_reads_is_loud(table):
    table.execute("INSERT INTO t VALUES (1)")
    table.execute(
        "SELECT count(*) FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1', "
        "'publication_names', %s)",
        (table.feed.slot, '"' + table.feed.publication.replace('"', '""') + '"'),
    )
    refused(table, "somebody else reads it")


@pytest.mark.parametrize("foreign", ["plugin", "database"])
def test_a_foreign_slot_is_loud(table, postgres, foreign):
    drop_slot(table.feed)
    if foreign == "plugin":
        table.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", (table.feed.slot,))
        refused(table, "is a slot for test_decoding")
    else:
        with psycopg.connect(postgres.dsn("mlflow"), autocommit=True) as other:
            other.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (table.feed.slot,))
        refused(table, "on the database 'mlflow'")


def test_another_cluster_slot_or_lost_log_is_loud(table):
    good = table.at
    table.at = replace(good, system="1")
    refused(table, "on the cluster 1")
    table.at = replace(good, slot="other")
    refused(table, "slot 'other'")
    table.at = replace(good, lsn=good.lsn + 2**40)
    refused(table, "is behind the lake")


def test_a_publication_that_is_gone_or_was_made_again_is_loud(table):
    """PostgreSQL 18 only warns, and gives nothing: what changed meanwhile would be lost in silence."""
    publication = sql.Identifier(table.feed.publication)
    table.execute(sql.SQL("DROP PUBLICATION {}").format(publication))
    refused(table, "does not exist", CdcError)
    table.execute("INSERT INTO t VALUES (1)")
    create_publication(table.feed, [("public", "t")])
    refused(table, "dropped and made again", CdcError)


def test_an_invalidated_slot_is_loud(table):
    """The server was told to keep less log than the slot needs."""
    with psycopg.connect(table.superuser_dsn, autocommit=True) as server:
        server.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        server.execute("SELECT pg_reload_conf()")
        try:
            for _ in range(3):
                server.execute("SELECT pg_logical_emit_message(false, 'x', 'x'), pg_switch_wal()")
            server.execute("CHECKPOINT")
        finally:
            server.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            server.execute("SELECT pg_reload_conf()")
    refused(table, r"was invalidated \(wal_removed\)")


def test_a_slot_is_never_made_over_another(table):
    with pytest.raises(SlotError, match="exists already"), create_slot(table.feed):
        pass
    assert slot_state(table.feed, table.at).confirmed <= table.at.lsn


def test_a_slot_without_publication_is_refused_before_it_is_made(source):
    with pytest.raises(CdcError, match="does not exist"), create_slot(source.feed):
        pass
    with pytest.raises(SlotError, match="does not exist"):
        slot_state(source.feed)


def test_a_first_load_that_fails_leaves_no_slot(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    create_publication(source.feed, [("public", "t")])
    with pytest.raises(psycopg.errors.DivisionByZero), create_slot(source.feed):
        source.execute("SELECT 1 / 0")
    with pytest.raises(SlotError, match="does not exist"):
        slot_state(source.feed)


def test_a_slot_in_use_is_refused_until_it_is_free(table):
    table.execute("INSERT INTO t VALUES (1)")
    options = ["--no-loop", "-f", "-", "-o", "proto_version=1", "-o", "publication_names=none"]
    info = table.connection.info
    command = [str(binary("pg_recvlogical")), "-d", info.dbname, "-S", table.feed.slot, "--start", *options]
    environment = {"PGPASSWORD": info.password, "PGHOST": info.host, "PGPORT": str(info.port)}
    environment |= {"PGUSER": info.user, "PGDATABASE": info.dbname}
    active = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as other:
        try:
            while other.poll() is None and not table.execute(active, (table.feed.slot,)).fetchone()[0]:
                time.sleep(0.02)
            assert other.poll() is None
            with pytest.raises(SlotError, match="is in use"):
                table.read()
        finally:
            # Asked politely it would wait for the server to end the stream.
            other.kill()
    while table.execute(active, (table.feed.slot,)).fetchone()[0]:
        time.sleep(0.02)
    # Nothing was confirmed by the other one, so that nothing is missing.
    assert ids(table) == [1]


def test_a_database_that_is_not_there_is_an_error_without_its_password(source):
    nowhere = replace(source.feed, dsn="postgresql://retail:secret-word@127.0.0.1:9/nowhere")
    assert "secret-word" not in repr(nowhere)
    with pytest.raises(DatabaseError) as caught:
        slot_state(nowhere)
    assert "secret-word" not in str(caught.value)


def test_no_code_here_makes_a_slot_but_create_slot():
    folder = Path(__file__).parents[3] / "include"
    texts = {path.name: path.read_text() for path in folder.rglob("*.py")}
    makers = {name for name, text in texts.items() if "CREATE_REPLICATION_SLOT" in text.upper()}
    assert makers == {"postgres_slot.py"}
    assert not [name for name, text in texts.items() if "pg_create_logical_replication_slot" in text]
