"""Shapes that change, rows without a key, values that Arrow cannot hold, and what must stop."""

import datetime
from collections import Counter
from typing import Any

import pytest

from include.features.errors import StagingError
from include.ingestion.capture_feed import feed_of
from include.ingestion.cdc import capture
from include.ingestion.connectors.postgres_slot import drop_slot
from include.spec.reads import DatabaseTable
from include.spec.source import Column, Table
from tests.integration.cdc.capturing import CUSTOMERS, ORDERS, Shop
from tests.integration.staged.staging import contents, plain, stage, stored

pytestmark = pytest.mark.integration

READ = DatabaseTable(dsn="retail_dsn")


def staged(shop: Shop, spark: Any, table: str, **options: Any) -> Any:
    shop.run()
    return stage(shop.lake, shop.settings, shop.source, table, spark, **options)


def current(shop: Shop, table: str) -> dict[Any, dict[str, Any]]:
    return {row["id"]: row for row in plain(stored(shop.lake, f"staged/shop/{table}"))}


def same_from_scratch(shop: Shop, spark: Any, table: str) -> None:
    again = stage(shop.lake, shop.settings, shop.source, table, spark, anew=True)
    assert (again.mode, again.changed) == ("all", False)


def test_columns_are_added_dropped_renamed_and_retyped(shop, spark):
    shop.declare((CUSTOMERS, ORDERS), on_schema_change="evolve")
    shop.execute("INSERT INTO customers VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z')")
    shop.execute("INSERT INTO orders VALUES (1, 7, 1.25), (2, 8, 2.50)")
    assert staged(shop, spark, "customers").mode == "all"
    assert stage(shop.lake, shop.settings, shop.source, "orders", spark).mode == "all"
    shop.execute("ALTER TABLE customers RENAME COLUMN name TO title")
    titled = tuple(
        one.model_copy(update={"name": one.name.replace("name", "title")}) for one in CUSTOMERS.columns
    )
    shop.declare((CUSTOMERS.model_copy(update={"columns": titled}), ORDERS), on_schema_change="evolve")
    shop.execute("UPDATE customers SET title = 'B' WHERE id = 2")
    shop.execute("ALTER TABLE customers ADD COLUMN born date, DROP COLUMN story")
    shop.execute("UPDATE customers SET born = '2001-02-03' WHERE id = 3")
    shop.execute("ALTER TABLE orders ALTER customer TYPE bigint, ALTER amount TYPE numeric(14,4)")
    shop.execute("UPDATE orders SET amount = 9.9999 WHERE id = 2")
    assert staged(shop, spark, "customers").mode == "all", "another shape"
    assert stage(shop.lake, shop.settings, shop.source, "orders", spark).mode == "all"
    for table in ("customers", "orders"):
        assert current(shop, table) == shop.held(table)
        same_from_scratch(shop, spark, table)
    history = stored(shop.lake, "staged/shop/customers__history")
    assert {row["story"] for row in history if row["_to_lsn"] is None} == {"x", "y", None}
    shop.execute("ALTER TABLE customers ADD COLUMN story text")
    shop.execute("UPDATE customers SET story = 'new' WHERE id = 1")
    staged(shop, spark, "customers")
    assert current(shop, "customers") == shop.held("customers")
    history = stored(shop.lake, "staged/shop/customers__history")
    assert {row["story__2"] for row in history} == {"x", "y", "z", None}


def test_equal_rows_without_a_key_are_counted(shop, spark):
    shop.execute("CREATE TABLE visits (place text, n int)")
    shop.execute("ALTER TABLE visits REPLICA IDENTITY FULL")
    columns = (
        Column(name="place", type="string", nullable=True),
        Column(name="n", type="int32", nullable=True),
    )
    visits = Table(name="visits", description="A visit.", read=READ, columns=columns)
    shop.declare((CUSTOMERS, visits))
    shop.execute("INSERT INTO visits VALUES ('a', 1), ('a', 1), ('a', NULL), ('b', 2)")
    staged(shop, spark, "visits")
    for statement in (
        "DELETE FROM visits WHERE ctid = (SELECT min(ctid) FROM visits WHERE place = 'a' AND n = 1)",
        "INSERT INTO visits VALUES ('a', 1), ('b', 2), ('b', 2)",
        "UPDATE visits SET n = 3 WHERE place = 'b'",
        "UPDATE visits SET n = 3 WHERE place = 'b'",
        "DELETE FROM visits WHERE ctid = (SELECT min(ctid) FROM visits WHERE n = 3)",
    ):
        shop.execute(statement)
    assert staged(shop, spark, "visits").mode == "forward"
    rows = Counter((row["place"], row["n"]) for row in stored(shop.lake, "staged/shop/visits"))
    assert rows == Counter(shop.execute("SELECT place, n FROM visits").fetchall())
    assert rows["b", 3] == 2
    same_from_scratch(shop, spark, "visits")
    shop.execute("TRUNCATE visits")
    shop.execute("INSERT INTO visits VALUES ('a', 1)")
    assert staged(shop, spark, "visits").mode == "forward"
    assert plain(stored(shop.lake, "staged/shop/visits")) == [{"place": "a", "n": 1}]
    same_from_scratch(shop, spark, "visits")


def test_an_emptied_table_has_its_columns(shop, spark):
    shop.execute("INSERT INTO orders SELECT n, n, n FROM generate_series(1, 40) n")
    staged(shop, spark, "orders")
    shop.execute("TRUNCATE orders")
    done = staged(shop, spark, "orders")
    assert (done.mode, len(done.buckets)) == ("forward", 16)
    assert stored(shop.lake, "staged/shop/orders") == []
    assert list(contents(shop.lake, "staged/shop/orders")) == ["staged/shop/orders/bucket-00000.parquet"]
    assert all(row["valid_to"] for row in stored(shop.lake, "staged/shop/orders__history"))
    same_from_scratch(shop, spark, "orders")


def test_a_capture_that_begins_anew_begins_the_tables_anew(shop, spark):
    """Rows that went while nobody captured are in no log; where the table is empty then, there is no file."""
    shop.execute("INSERT INTO orders VALUES (1, 1, 1), (2, 2, 2)")
    shop.execute("INSERT INTO customers VALUES (1, 'a', 'x')")
    for table in ("orders", "customers"):
        staged(shop, spark, table)
    drop_slot(feed_of(shop.settings, shop.source))
    shop.execute("DELETE FROM orders WHERE id = 2")
    shop.execute("DELETE FROM customers")
    desk = shop.open()
    capture(desk, anew=True)
    shop.publish(desk.draft)
    for table in ("orders", "customers"):
        done = stage(shop.lake, shop.settings, shop.source, table, spark)
        assert (done.mode, done.changed) == ("all", True)
        assert current(shop, table) == shop.held(table)
        assert stage(shop.lake, shop.settings, shop.source, table, spark).mode == "nothing"
    assert stored(shop.lake, "staged/shop/customers__history") == []
    shop.execute("INSERT INTO customers VALUES (5, 'b', 'y')")
    assert staged(shop, spark, "customers").mode == "all"
    assert current(shop, "customers") == shop.held("customers")


def test_only_the_buckets_of_changed_keys_are_written(shop, spark):
    shop.execute("INSERT INTO orders SELECT n, n, n FROM generate_series(1, 200) n")
    staged(shop, spark, "orders")
    before = contents(shop.lake, "staged/shop/orders")
    shop.execute("UPDATE orders SET amount = 0 WHERE id = 17")
    done = staged(shop, spark, "orders")
    after = contents(shop.lake, "staged/shop/orders")
    changed = {path for path in before if before[path] != after[path]}
    assert len(before) == 16
    assert (done.mode, len(done.buckets), len(changed)) == ("forward", 1, 1)
    assert stage(shop.lake, shop.settings, shop.source, "orders", spark).mode == "nothing"


TYPES = """
    CREATE TABLE kinds (id int PRIMARY KEY, day date, at timestamptz, clock time, n numeric(6,2), raw bytea,
    list int[], doc jsonb, u uuid, flag bool, f float8, "Odd name.`x`" text, big text)
"""
KINDS = Table(
    name="kinds",
    description="One value of each kind.",
    read=READ,
    key=("id",),
    undeclared_columns="ignore",
    columns=(Column(name="id", type="int32"),),
)


def test_values_keep_their_meaning_and_none_becomes_null(shop, spark):
    shop.execute(TYPES)
    shop.execute("ALTER TABLE kinds ALTER big SET STORAGE EXTERNAL")
    shop.declare((CUSTOMERS, KINDS))
    shop.execute(
        "INSERT INTO kinds VALUES (1, '2020-02-29', '2020-02-29 12:00+02', '12:34:56.789', 1.5, '\\x00ff', "
        "'{1,NULL,3}', '{\"a\": 1}', '00000000-0000-0000-0000-000000000001', true, 'NaN', 'é', 'b'), "
        "(2, 'infinity', '-infinity', '24:00', 'NaN', NULL, '{{1},{2}}', 'null', NULL, NULL, -0.0, NULL, "
        "repeat('big', 2000))"
    )
    staged(shop, spark, "kinds")
    shop.execute("UPDATE kinds SET id = 3, flag = false WHERE id = 2")
    assert staged(shop, spark, "kinds").mode == "forward"
    rows = {row["id"]: row for row in stored(shop.lake, "staged/shop/kinds")}
    assert rows.keys() == {1, 3}
    one, three = rows[1], rows[3]
    assert (one["day"], one["clock"]) == (datetime.date(2020, 2, 29), datetime.time(12, 34, 56, 789000))
    assert one["at"].isoformat() == "2020-02-29T10:00:00+00:00"
    assert (one["raw"], one["list"], one["doc"]) == (b"\x00\xff", [1, None, 3], '{"a": 1}')
    assert one["Odd name.`x`"] == "é"
    assert one["f"] != one["f"]
    assert one["_special"] == {}
    assert three["big"] == "big" * 2000
    assert {name: three[name] for name in ("day", "at", "clock", "n", "list")} == dict.fromkeys(
        ("day", "at", "clock", "n", "list")
    )
    assert three["_special"] == {
        "day": "infinity", "at": "-infinity", "clock": "24:00:00", "n": "NaN", "list": "{{1},{2}}",
    }  # fmt: skip
    same_from_scratch(shop, spark, "kinds")


def test_a_table_with_a_column_of_ours_is_refused(shop, spark):
    shop.execute("CREATE TABLE spans (id int PRIMARY KEY, valid_from date)")
    columns = (Column(name="id", type="int32"), Column(name="valid_from", type="date", nullable=True))
    shop.declare((Table(name="spans", description="A span.", read=READ, key=("id",), columns=columns),))
    shop.execute("INSERT INTO spans VALUES (1, now())")
    with pytest.raises(StagingError, match=r"shop.spans has the column valid_from"):
        staged(shop, spark, "spans")
