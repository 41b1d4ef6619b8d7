"""Histories of any kind against PostgreSQL: staged tables are the source's, at every moment that was seen."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from include.features.errors import StagingError
from include.ingestion.capture_feed import feed_of
from include.ingestion.connectors.postgres_slot import drop_slot
from include.lake import Lake, checkout, commit_draft, merge_draft, open_draft, upload
from include.spec.source import Column
from tests.integration.cdc.capturing import CUSTOMERS, DDL, PASSED, Shop, declared
from tests.integration.staged.staging import contents, plain, stage, stored

pytestmark = pytest.mark.integration

BIG = "repeat(md5(random()::text), 100)"
TABLE = CUSTOMERS.model_copy(
    update={"columns": (Column(name="id", type="int32"),), "undeclared_columns": "ignore"}
)
FOLDERS = "staged/shop/customers", "staged/shop/customers__history"
# Key of a row that is written after every ALTER: a shape that no change has is in no log.
WITNESS = 99
WIDER = {"integer": "bigint", "bigint": "text"}

KEYS, NAMES = st.integers(0, 7), st.sampled_from("xyz")
KINDS = ("insert", "insert", "name", "name", "extra", "story", "move", "move", "delete")
STATEMENTS = st.one_of(
    *[st.tuples(st.just(kind), KEYS, KEYS, st.booleans()) for kind in KINDS],
    st.tuples(st.just("truncate"), st.just(0), st.just(0), st.booleans()),
)
TRANSACTIONS = st.tuples(st.lists(STATEMENTS, min_size=1, max_size=5), st.sampled_from([True, True, False]))
ALTERS = st.tuples(st.sampled_from(["add", "drop", "rename", "widen"]), NAMES, NAMES)


@dataclass(frozen=True)
class History:
    """What happens to a table, and to the files of its log.

    Args:
        identity: Of its replicas.
        windows: Between two captures each: changes of its shape, and transactions that are committed or not.
        late: Places of the files that come late, in another lake.
    """

    identity: str
    windows: tuple[tuple[list[Any], list[Any]], ...]
    late: frozenset[int]


WINDOWS = st.tuples(st.lists(ALTERS, max_size=2), st.lists(TRANSACTIONS, min_size=4, max_size=10))
HISTORIES = st.builds(
    History,
    st.sampled_from(["DEFAULT", "FULL"]),
    st.tuples(WINDOWS, WINDOWS, WINDOWS),
    st.frozensets(st.integers(1, 6), min_size=1),
)
ORDINARY = History(
    "DEFAULT",
    (
        ([], [([("insert", key, 0, True) for key in range(5)], True)]),
        ([], [([("name", 1, 2, False), ("move", 2, 6, False)], True), ([("delete", 0, 0, False)], True)]),
        ([("add", "x", "x")], [([("extra", 3, 4, False), ("insert", 0, 1, False)], True)]),
        ([], [([("name", 3, 4, False)], True), ([("truncate", 0, 0, False)], False)]),
    ),
    frozenset([1]),
)


@dataclass
class Told:
    """What all histories did, so that a test which does nothing is noticed."""

    modes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    versions: int = 0


def one(shop: Shop, kind: str, key: int, other: int, big: bool) -> None:
    match kind:
        case "insert":
            shop.execute(
                f"INSERT INTO customers (id, name, story) VALUES (%s, %s, {BIG if big else 'NULL'}) "
                "ON CONFLICT DO NOTHING",
                (key, [None, "é\n'"][other % 2]),
            )
        case "name":
            shop.execute("UPDATE customers SET name = %s WHERE id = %s", (f"n{other}", key))
        case "extra":
            for name in [name for name in columns(shop) if name in "xyz"][:1]:
                shop.execute(f"UPDATE customers SET {name} = %s WHERE id = %s", (other, key))
        case "story":
            shop.execute(f"UPDATE customers SET story = {BIG} WHERE id = %s", (key,))
        case "move":
            # With its story: it is TOASTed, and not sent again under the new key.
            shop.execute(
                "UPDATE customers SET id = %(to)s WHERE id = %(key)s "
                "AND NOT EXISTS (SELECT FROM customers WHERE id = %(to)s)",
                {"key": key, "to": other},
            )
        case "delete":
            shop.execute("DELETE FROM customers WHERE id = %s", (key,))
        case "truncate":
            shop.execute("TRUNCATE customers")


def columns(shop: Shop) -> dict[str, str]:
    return dict(
        shop.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = 'customers'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ).fetchall()
    )


def alter(shop: Shop, what: str, name: str, to: str) -> None:
    there = columns(shop)
    match what:
        case "add" if name not in there:
            done = f"ADD COLUMN {name} int"
        case "drop" if name in there:
            done = f"DROP COLUMN {name}"
        case "rename" if name in there and to not in there:
            done = f"RENAME COLUMN {name} TO {to}"
        case "widen" if there.get(name) in WIDER:
            done = f"ALTER COLUMN {name} TYPE {WIDER[there[name]]}"
        case _:
            return
    shop.execute(f"ALTER TABLE customers {done}")
    shop.execute(
        "INSERT INTO customers (id, name) VALUES (%s, %s) "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        (WITNESS, uuid4().hex),
    )


def live(shop: Shop, alters: list[Any], transactions: list[Any], told: Told) -> None:
    for change in alters:
        alter(shop, *change)
        told.kinds[change[0]] += 1
    for statements, committed in transactions:
        with shop.connection.transaction(force_rollback=not committed):
            for statement in statements:
                one(shop, *statement)
                told.kinds[statement[0]] += 1


def narrow(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """In the columns that no ALTER takes."""
    return sorted((row["id"], row["name"], row["story"]) for row in rows)


def as_of(history: list[dict[str, Any]], lsn: int) -> list[dict[str, Any]]:
    """The rows that were there at a position of the log."""
    return [
        row for row in history if row["_from_lsn"] <= lsn and (row["_to_lsn"] is None or lsn < row["_to_lsn"])
    ]


def check_times(history: list[dict[str, Any]]) -> None:
    """Versions of a key follow each other, in the log and in time, and none is of no commit."""
    last: dict[int, dict[str, Any]] = {}
    for row in sorted(history, key=lambda row: (row["id"], row["_from_lsn"])):
        before = last.get(row["id"])
        if before is not None:
            assert before["_to_lsn"] is not None
            assert before["_to_lsn"] <= row["_from_lsn"]
            assert before["valid_to"] <= row["valid_from"]
        assert row["_to_lsn"] is None or row["_to_lsn"] > row["_from_lsn"]
        assert (row["valid_to"] is None) == (row["_to_lsn"] is None)
        last[row["id"]] = row


def follow(shop: Shop, lake: Lake, spark: Any, drawn: History, told: Told) -> None:
    """Live through a history: captured and staged after every window, it is what the source has."""
    current, history = (folder.replace("/shop/", f"/{shop.source.name}/") for folder in FOLDERS)
    seen = []
    for alters, transactions in drawn.windows:
        live(shop, alters, transactions, told)
        shop.run()
        rows = sorted(shop.held("customers").values(), key=lambda row: row["id"])
        changes = shop.changes("customers")
        if not changes:
            assert not rows
            continue
        seen.append((max(change["commit_lsn"] for change in changes), narrow(rows)))
        told.modes[stage(shop.lake, shop.settings, shop.source, "customers", spark).mode] += 1
        assert sorted(plain(stored(shop.lake, current)), key=lambda row: row["id"]) == rows
    if seen:
        versions = stored(shop.lake, history)
        told.versions += len(versions)
        check_times(versions)
        for lsn, expected in seen:
            assert narrow(as_of(versions, lsn)) == expected
        again = stage(shop.lake, shop.settings, shop.source, "customers", spark, anew=True)
        assert (again.mode, again.changed) == ("all", False), "the same files from the whole log"
        late_and_repeated(shop, lake, spark, drawn.late, told)
        for folder in (current, history):
            assert tables_of(contents(lake, folder)) == tables_of(contents(shop.lake, folder))


def late_and_repeated(shop: Shop, lake: Lake, spark: Any, late: frozenset[int], told: Told) -> None:
    """The files of the log in two parts, of which the second is late, and lies behind; one again."""
    prefix = f"raw/{shop.source.name}/customers/changes"
    names = shop.files("customers")
    parts = [
        [name for place, name in enumerate(names) if (place in late) == second] for second in (False, True)
    ]
    with checkout(shop.lake, shop.lake.head(), prefix) as files:
        local = {name: files.path(f"{prefix}/{name}") for name in names}
        for part in filter(None, parts):
            place = "-9" if part is parts[1] else "-0"
            bring(lake, {f"{name[:-14]}{place}{name[-12:]}": local[name] for name in part}, prefix)
            try:
                told.modes[stage(lake, shop.settings, shop.source, "customers", spark).mode] += 1
            except StagingError as error:
                assert part is parts[0]
                assert "no change before it tells" in str(error)  # noqa: PT017  # it may also be none
        last = names[-1]
        bring(lake, {last.replace(".parquet", "-again.parquet"): local[last]}, prefix)
        assert stage(lake, shop.settings, shop.source, "customers", spark).mode == "nothing"
        # The same changes in other bytes: they are read again, and count once.
        rewritten = shop.settings.home / "rewritten.parquet"
        pq.write_table(pq.read_table(local[last]), rewritten, compression="gzip")
        bring(lake, {last.replace(".parquet", "-rewritten.parquet"): rewritten}, prefix)
    told.modes[stage(lake, shop.settings, shop.source, "customers", spark).mode] += 1


def tables_of(held: dict[str, str]) -> dict[str, str]:
    return {path: content for path, content in held.items() if path.endswith(".parquet")}


def bring(lake: Lake, files: Any, prefix: str) -> None:
    draft = open_draft(lake, uuid4().hex, "bring", restart=True)
    upload(lake, draft, files, prefix)
    commit_draft(lake, draft, "Bring", {}, PASSED)
    merge_draft(lake, draft)


def test_staged_tables_are_the_source_at_every_moment(shop, another_lake, spark):
    told, numbers = Told(), count()

    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @example(ORDINARY)
    @given(HISTORIES)
    def history(drawn: History) -> None:
        name = f"shop{next(numbers)}"
        source = declared((TABLE,), slot=name, publication=name, on_schema_change="evolve")
        own = Shop(shop.connection, shop.lake, shop.settings, source.model_copy(update={"name": name}))
        for statement in ("DROP TABLE customers", *DDL[:2]):
            own.execute(statement)
        own.execute(f"ALTER TABLE customers REPLICA IDENTITY {drawn.identity}")
        try:
            follow(own, another_lake, spark, drawn, told)
        finally:
            drop_slot(feed_of(own.settings, own.source))

    history()
    assert told.modes.keys() >= {"all", "forward", "late"}
    assert told.kinds.keys() >= {"insert", "name", "extra", "move", "delete", "truncate", "add"}
    assert told.versions > 10
