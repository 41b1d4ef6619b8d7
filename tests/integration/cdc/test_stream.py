"""What the stream says of the many ways in which rows and tables change."""

import psycopg
import pytest
from psycopg import errors

from include.ingestion.connectors.postgres_slot import create_publication
from include.ingestion.pgoutput import ChangeBatch, Decoded, LogicalMessage, SchemaChange

pytestmark = pytest.mark.integration

BIG = "repeat(md5(random()::text), 300)"


def schema_changes(decoded: list[Decoded]) -> list[SchemaChange]:
    return [event for part in decoded for event in part.events if isinstance(event, SchemaChange)]


def brief(change: dict) -> tuple:
    return change["operation"], change["old"], change["row"]


def test_operations_with_the_old_key_only_where_it_changed(source):
    source.execute("CREATE TABLE t (a int, b int, note text, PRIMARY KEY (b, a))")
    source.publish("t")
    source.execute("INSERT INTO t VALUES (1, 2, 'x')")
    source.execute("UPDATE t SET note = 'y'")
    source.execute("UPDATE t SET a = 3")
    source.execute("DELETE FROM t")
    assert [brief(change) for change in source.changes()] == [
        ("insert", None, {"a": 1, "b": 2, "note": "x"}),
        ("update", None, {"a": 1, "b": 2, "note": "y"}),
        ("update", {"a": 1, "b": 2}, {"a": 3, "b": 2, "note": "y"}),
        ("delete", {"a": 3, "b": 2}, None),
    ]


def test_a_change_says_its_transaction_its_place_and_its_time(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
    source.publish("t", "u")
    ids, times = [], []
    for start in (0, 10):
        with source.connection.transaction():
            source.execute("INSERT INTO t VALUES (%s)", (start,))
            source.execute("INSERT INTO u VALUES (%s)", (start,))
            source.execute("INSERT INTO t VALUES (%s)", (start + 1,))
            ids.append(
                source.execute("SELECT pg_current_xact_id()::text::bigint % (2^32)::bigint").fetchone()[0]
            )
        times.append(source.execute("SELECT clock_timestamp()").fetchone()[0])
    found = source.changes()
    by_table = {t: [c for c in found if c["table"] == t] for t in ("t", "u")}
    assert [c["sequence"] for c in by_table["t"]] == [0, 2, 0, 2]
    assert [c["sequence"] for c in by_table["u"]] == [1, 1]
    assert [c["transaction_id"] for c in by_table["t"]] == [ids[0]] * 2 + [ids[1]] * 2
    first, second = by_table["u"]
    assert first["committed_at"] < times[0] < second["committed_at"] < times[1]
    assert first["lsn"] < first["commit_lsn"] < second["lsn"] < second["commit_lsn"] < source.at.lsn


def test_an_aborted_transaction_and_a_rolled_back_savepoint_leave_nothing(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.publish("t")
    with source.connection.transaction(force_rollback=True):
        source.execute("INSERT INTO t VALUES (1)")
    with source.connection.transaction():
        with source.connection.transaction(force_rollback=True):
            source.execute("INSERT INTO t VALUES (2)")
        source.execute("INSERT INTO t VALUES (3)")
    assert [change["row"]["id"] for change in source.changes()] == [3]


@pytest.mark.parametrize("identity", ["DEFAULT", "USING INDEX t_other_idx"])
def test_an_unchanged_toasted_value_is_named_and_never_null(source, identity):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, other int NOT NULL, n int, big text, wide bytea)")
    source.execute("CREATE UNIQUE INDEX t_other_idx ON t (other)")
    source.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL, ALTER wide SET STORAGE EXTERNAL")
    source.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    source.publish("t")
    source.execute(f"INSERT INTO t VALUES (1, 1, 1, {BIG}, {BIG}::bytea), (2, 2, 1, NULL, NULL)")
    source.execute("UPDATE t SET n = 2")
    source.execute("UPDATE t SET big = NULL WHERE id = 1")
    _, _, kept, null, last = source.changes()
    assert (kept["row"]["big"], sorted(kept["unchanged"])) == (None, ["big", "wide"])
    assert (null["row"]["big"], null["unchanged"]) == (None, [])
    assert (last["row"]["big"], last["unchanged"]) == (None, ["wide"])


def test_with_full_identity_the_old_row_is_there_and_gives_what_did_not_change(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, n int, big text)")
    source.execute("ALTER TABLE t REPLICA IDENTITY FULL, ALTER big SET STORAGE EXTERNAL")
    source.publish("t")
    source.execute(f"INSERT INTO t VALUES (1, 1, {BIG})")
    big = source.execute("SELECT big FROM t").fetchone()[0]
    source.execute("UPDATE t SET n = 2")
    source.execute("DELETE FROM t")
    _, update, delete = source.changes()
    assert brief(update) == ("update", {"id": 1, "n": 1, "big": big}, {"id": 1, "n": 2, "big": big})
    assert update["unchanged"] == []
    assert brief(delete) == ("delete", {"id": 1, "n": 2, "big": big}, None)


@pytest.mark.parametrize("identity", ["NOTHING", "DEFAULT"])
def test_without_identity_rows_arrive_and_postgresql_refuses_the_rest(source, identity):
    source.execute("CREATE TABLE t (id int)")
    source.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    source.publish("t")
    source.execute("INSERT INTO t VALUES (1)")
    for statement in ("UPDATE t SET id = 2", "DELETE FROM t"):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="does not have a replica identity"):
            source.execute(statement)
    source.execute("TRUNCATE t")
    (batch,) = [batch for part in source.read() for batch in part.changes]
    assert "old" not in batch.data.schema.names
    assert batch.data.column("operation").to_pylist() == ["insert", "truncate"]


def test_truncate_empties_all_its_tables_in_its_place(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.execute("CREATE TABLE u (id int PRIMARY KEY REFERENCES t)")
    source.publish("t", "u")
    with source.connection.transaction():
        source.execute("INSERT INTO t VALUES (1)")
        source.execute("TRUNCATE t CASCADE")
        source.execute("INSERT INTO t VALUES (2)")
    found = source.changes()
    assert [(c["table"], c["operation"], c["sequence"]) for c in found if c["table"] == "t"] == [
        ("t", "insert", 0),
        ("t", "truncate", 1),
        ("t", "insert", 2),
    ]
    assert [(c["operation"], c["sequence"]) for c in found if c["table"] == "u"] == [("truncate", 1)]


def test_partitions_are_the_one_table_that_they_are(source):
    source.execute("CREATE TABLE t (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)")
    source.execute("CREATE TABLE t_old PARTITION OF t FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')")
    # The order of columns within a partition is its own.
    source.execute("CREATE TABLE t_new (day date NOT NULL, gone int, id int NOT NULL)")
    source.execute("ALTER TABLE t_new DROP COLUMN gone")
    source.execute("ALTER TABLE t ATTACH PARTITION t_new FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
    source.publish("t")
    source.execute("INSERT INTO t VALUES (1, '2023-05-05'), (2, '2024-05-05')")
    source.execute("UPDATE t SET day = '2024-06-06' WHERE id = 1")
    found = source.changes()
    assert {c["table"] for c in found} == {"t"}
    assert [c["operation"] for c in found] == ["insert", "insert", "delete", "insert"]
    assert [c["row"]["id"] for c in found if c["row"]] == [1, 2, 1]


def test_tables_of_one_name_in_two_schemas_are_two(source):
    source.execute('CREATE SCHEMA "Odd ""one"""')
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.execute('CREATE TABLE "Odd ""one""".t (id int PRIMARY KEY, "row" text, "Mixed ""case""" int)')
    create_publication(source.feed, [("public", "t"), ('Odd "one"', "t")])
    source.begin()
    source.execute("INSERT INTO t VALUES (1)")
    source.execute('INSERT INTO "Odd ""one""".t VALUES (2, \'x\', 3)')
    batches = [batch for part in source.read() for batch in part.changes]
    found = {batch.shape.name: batch.data.column("row").to_pylist() for batch in batches}
    assert found == {
        "public.t": [{"id": 1}],
        'Odd "one".t': [{"id": 2, "row": "x", 'Mixed "case"': 3}],
    }


def test_a_column_list_a_row_filter_and_generated_columns_are_kept_to(source):
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int, hidden text, g int GENERATED ALWAYS AS (a) STORED)"
    )
    publication = psycopg.sql.Identifier(source.feed.publication)
    source.execute(
        psycopg.sql.SQL("CREATE PUBLICATION {} FOR TABLE t (id, a) WHERE (id > 1)").format(publication)
    )
    source.begin()
    source.execute("INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'x')")
    assert [change["row"] for change in source.changes()] == [{"id": 2, "a": 2}]


def test_each_change_of_shape_is_reported_before_the_first_row_that_has_it(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b text)")
    source.publish("t")
    source.execute("INSERT INTO t VALUES (1, 1, 'x')")
    statements = {
        "ALTER TABLE t ADD COLUMN c int DEFAULT 7": ("added", ("c",)),
        "ALTER TABLE t DROP COLUMN c": ("dropped", ("c",)),
        "ALTER TABLE t RENAME COLUMN b TO d": ("renamed", (("b", "d"),)),
        "ALTER TABLE t ALTER COLUMN a TYPE numeric(6,1)": ("retyped", ("a",)),
        "ALTER TABLE t REPLICA IDENTITY FULL": ("identity_changed", True),
        "ALTER TABLE t RENAME TO t2": ("moved", True),
    }
    for number, statement in enumerate(statements, 2):
        with source.connection.transaction():
            source.execute(statement)
            table = "t2" if "t2" in statement else "t"
            source.execute(f"INSERT INTO {table} (id) VALUES (%s)", (number,))
    decoded = source.read()
    assert len(decoded) == 1
    found = schema_changes(decoded)
    assert [getattr(change, name) for change, (name, _) in zip(found, statements.values(), strict=True)] == [
        expected for _, expected in statements.values()
    ]
    kinds = [type(event) for event in decoded[0].events]
    assert kinds == [ChangeBatch, *[SchemaChange, ChangeBatch] * len(statements)]
    for before, event in zip(decoded[0].events, decoded[0].events[1:], strict=False):
        if isinstance(before, SchemaChange):
            assert event.shape == before.after
            assert before.lsn <= event.data.column("lsn")[0].as_py()
    rows = [event.data.column("row")[0].as_py() for event in decoded[0].changes]
    assert rows[1] == {"id": 2, "a": None, "b": None, "c": 7}
    assert rows[-1] == {"id": 7, "a": None, "d": None}


def test_a_change_of_shape_between_two_reads_is_reported_by_what_is_known(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.publish("t")
    source.execute("INSERT INTO t VALUES (1)")
    assert schema_changes(source.read()) == []
    source.execute("INSERT INTO t VALUES (2)")
    assert schema_changes(source.read()) == []
    source.execute("ALTER TABLE t ADD COLUMN a int")
    source.execute("INSERT INTO t VALUES (3)")
    (change,) = schema_changes(source.read())
    assert (change.added, change.dropped, change.recreated) == (("a",), (), False)


def test_a_table_that_is_made_again_is_reported_as_another_one(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.publish("t")
    source.execute("INSERT INTO t VALUES (1)")
    source.read()
    source.execute("DROP TABLE t")
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    publication = psycopg.sql.Identifier(source.feed.publication)
    source.execute(psycopg.sql.SQL("ALTER PUBLICATION {} ADD TABLE t").format(publication))
    source.execute("INSERT INTO t VALUES (1)")
    (change,) = schema_changes(source.read())
    assert change.recreated
    assert (change.added, change.dropped) == ((), ())


def test_messages_in_the_log_arrive_with_their_place(source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.publish("t")
    source.execute("SELECT pg_logical_emit_message(false, 'aside', 'now')")
    with source.connection.transaction(force_rollback=True):
        source.execute("SELECT pg_logical_emit_message(true, 'lost', '')")
    with source.connection.transaction():
        source.execute("INSERT INTO t VALUES (1)")
        source.execute("SELECT pg_logical_emit_message(true, 'headrace', '\\x00ff'::bytea)")
        source.execute("INSERT INTO t VALUES (2)")
    events = [event for part in source.read() for event in part.events]
    said = [(e.transactional, e.prefix, e.content) for e in events if isinstance(e, LogicalMessage)]
    assert said == [(False, "aside", b"now"), (True, "headrace", b"\x00\xff")]


def test_many_tables_in_one_transaction_keep_their_own_order(source):
    tables = [f"t{number}" for number in range(5)]
    for table in tables:
        source.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, n int)")
    source.publish(*tables)
    with source.connection.transaction():
        for number in range(200):
            source.execute(f"INSERT INTO t{number % 5} VALUES ({number}, 0)")
    found = source.changes()
    for offset, table in enumerate(tables):
        mine = [change for change in found if change["table"] == table]
        assert [change["sequence"] for change in mine] == list(range(offset, 200, 5))
        assert [change["row"]["id"] for change in mine] == list(range(offset, 200, 5))


@pytest.mark.parametrize("batch_bytes", [2_000, 16 * 2**20])
def test_a_large_transaction_comes_in_parts_and_in_order(source, batch_bytes):
    count = 5_000
    source.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    source.publish("t")
    with source.connection.transaction():
        source.execute(f"INSERT INTO t SELECT g, 0 FROM generate_series(1, {count}) g")
        source.execute("UPDATE t SET n = 1")
    decoded = source.read(batch_bytes=batch_bytes)
    assert (len(decoded) > 50) == (batch_bytes < 10_000)
    assert [part.within_transaction for part in decoded][-2:].count(True) == (len(decoded) > 1)
    changes = [batch.data for part in decoded for batch in part.changes]
    sequence = [value for data in changes for value in data.column("sequence").to_pylist()]
    assert sequence == list(range(2 * count))
    ids = [row["id"] for data in changes for row in data.column("row").to_pylist()]
    assert ids == [*range(1, count + 1)] * 2
    assert len({value for data in changes for value in data.column("commit_lsn").to_pylist()}) == 1
