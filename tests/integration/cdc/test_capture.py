"""Capture on real servers: the lake holds what the source holds, once, and the slot stays behind it."""

from dataclasses import replace

import psycopg
import pytest

from include.ingestion import cdc
from include.ingestion.capture_feed import feed_of, held_position
from include.ingestion.cdc import capture, confirm, retention, watching
from include.ingestion.connectors.postgres_slot import SlotError, drop_slot
from include.ingestion.pgoutput import CdcError
from include.lake import open_draft, write_watermark
from include.spec.reads import DatabaseTable
from include.spec.refs import Position
from tests.integration.cdc.capturing import CUSTOMERS, ORDERS

pytestmark = pytest.mark.integration


def fill(shop, first=1, last=200):
    for number in range(first, last + 1):
        shop.execute("INSERT INTO customers VALUES (%s, %s, repeat('x', 3000))", (number, f"c{number}"))
        shop.execute("INSERT INTO orders VALUES (%s, %s, %s)", (number, number, number / 4))


def test_the_first_capture_brings_the_tables_and_the_next_what_changed(shop):
    fill(shop)
    first = shop.run()
    assert (first.first, first.rows, first.changed) == (True, 400, True)
    assert dict(first.tables) == {"raw/shop/customers": 200, "raw/shop/orders": 200}
    shop.check()
    shop.execute("UPDATE customers SET name = 'other' WHERE id <= 10")  # its story is TOASTed, and not sent
    shop.execute("UPDATE customers SET id = 1000 WHERE id = 11")
    shop.execute("DELETE FROM orders WHERE id > 150")
    fill(shop, 300, 310)
    second = shop.run()
    assert (second.first, second.changed) == (False, True)
    assert dict(second.tables) == {"raw/shop/customers": 22, "raw/shop/orders": 61}
    shop.check()
    unchanged = [change for change in shop.changes("customers") if change["unchanged"] == ["story"]]
    assert len(unchanged) == 11
    names = shop.files("customers")
    assert names == sorted(names)
    assert len(names) == 2


def test_an_unchanged_source_leaves_the_draft_equal_to_main(shop):
    fill(shop, 1, 3)
    shop.run()
    head = shop.lake.head()
    captured = shop.run()
    assert (captured.changed, captured.rows, captured.tables) == (False, 0, ())
    assert shop.lake.head() == head


def test_the_log_of_others_does_not_pile_up_behind_an_idle_table(shop, monkeypatch):
    shop.run()
    before = retention(shop.settings, shop.source).confirmed
    shop.execute("CREATE TABLE apart (content text)")
    shop.execute("INSERT INTO apart SELECT repeat(md5(n::text), 10) FROM generate_series(1, 20000) n")
    monkeypatch.setattr(cdc, "IDLE_BYTES", 2**20)
    with watching(shop.settings, shop.source) as watch:
        assert watch.pending(shop.positions()[0])
    captured = shop.run()
    assert (captured.changed, captured.rows) == (True, 0)
    assert retention(shop.settings, shop.source).confirmed - before > 2**20


def test_a_watch_tells_of_changes_of_the_publication_alone(shop):
    captured = shop.run()
    shop.execute("CREATE TABLE apart (id int)")
    with watching(shop.settings, shop.source) as watch:
        shop.execute("INSERT INTO apart VALUES (1)")
        assert not watch.pending(captured.position)
        shop.execute("INSERT INTO orders VALUES (1, 1, 1)")
        assert watch.pending(captured.position)
    after = shop.run()
    with watching(shop.settings, shop.source) as watch:
        assert not watch.pending(after.position)


def test_the_slot_moves_to_what_main_holds_and_no_further(shop):
    fill(shop, 1, 3)
    desk = shop.open()
    capture(desk)
    assert confirm(shop.lake, shop.settings, shop.source) is None
    shop.publish(desk.draft)
    fill(shop, 4, 6)
    desk = shop.open()
    captured = capture(desk)
    held = confirm(shop.lake, shop.settings, shop.source)
    assert held != captured.position
    slot = retention(shop.settings, shop.source)
    main = held_position(shop.lake, shop.source, shop.lake.head())
    assert main is not None
    assert slot.confirmed <= main.lsn < slot.end
    shop.publish(desk.draft)
    assert confirm(shop.lake, shop.settings, shop.source) == captured.position
    shop.check()


def test_a_batch_and_a_capture_at_the_same_time_both_reach_main(shop):
    """Each moves a watermark of its own: neither is a conflict for the other."""
    shop.run()
    shop.execute("INSERT INTO orders VALUES (90001, 1, 1)")
    batch = open_draft(shop.lake, "batch", "batch")
    write_watermark(shop.lake, batch, "shop", Position("snapshot", "abc", "orders"))
    captured = shop.run()
    shop.publish(batch)
    assert captured.rows == 1
    assert set(shop.positions()) == {captured.position, Position("snapshot", "abc", "orders")}


def test_positions_of_tables_that_are_read_whole_stay_beside_that_of_the_log(shop):
    draft = open_draft(shop.lake, "batch", "batch")
    write_watermark(shop.lake, draft, "shop", Position("snapshot", "abc", "orders"))
    shop.publish(draft)
    captured = shop.run()
    positions = shop.positions()
    assert set(positions) == {captured.position, Position("snapshot", "abc", "orders")}


def test_a_backlog_comes_in_windows_and_each_is_whole(shop):
    shop.run()
    for start in range(0, 2000, 100):
        with shop.connection.transaction():
            shop.execute(
                "INSERT INTO orders SELECT n, n, n FROM generate_series(%s::int, %s) n",
                (start, start + 99),
            )
    runs = 0
    while (captured := shop.run(window_bytes=2**15)).rows:
        assert captured.rows % 100 == 0
        runs += 1
    assert runs > 3
    shop.check()


def test_a_lost_slot_stops_loudly_and_a_person_begins_anew(shop):
    fill(shop, 1, 5)
    shop.run()
    head = shop.lake.head()
    shop.execute("DELETE FROM orders WHERE id = 1")
    drop_slot(feed_of(shop.settings, shop.source))
    for act in (lambda: shop.run(), lambda: confirm(shop.lake, shop.settings, shop.source)):
        with pytest.raises(SlotError, match=r"does not exist.*dropped"):
            act()
    assert shop.lake.head() == head
    desk = shop.open()
    captured = capture(desk, anew=True)
    assert captured.first
    shop.publish(desk.draft)
    confirm(shop.lake, shop.settings, shop.source)
    shop.check()
    fill(shop, 6, 7)
    shop.run()
    shop.check()


def test_a_first_capture_that_died_is_begun_again_by_itself(shop):
    fill(shop, 1, 5)
    capture(shop.open())  # its slot has a snapshot that nobody has any more
    shop.execute("DELETE FROM orders WHERE id = 1")
    shop.run()
    shop.check()


def test_the_slot_of_another_lake_is_not_touched(shop, another_lake):
    fill(shop, 1, 5)
    shop.run()
    own = retention(shop.settings, shop.source)
    other = replace(shop, lake=another_lake)
    with pytest.raises(CdcError, match="was not made for this lake"):
        other.run()
    assert retention(shop.settings, shop.source) == replace(
        own, end=retention(shop.settings, shop.source).end
    )
    shop.declare(publication="none_of_it")
    with pytest.raises(SlotError, match="nothing says that it was made for this lake"):
        replace(shop, lake=another_lake).run()


def test_what_the_application_cannot_update_is_refused_before_it_is_published(shop):
    shop.execute("ALTER TABLE orders REPLICA IDENTITY NOTHING")
    with pytest.raises(CdcError, match=r"public\.orders.*no replica identity.*REPLICA IDENTITY"):
        shop.run()
    shop.execute("INSERT INTO orders VALUES (1, 1, 1)")
    shop.execute("UPDATE orders SET amount = 2")  # the application goes on
    with pytest.raises(SlotError, match="does not exist"):
        retention(shop.settings, shop.source)
    shop.execute("ALTER TABLE orders DROP CONSTRAINT orders_pkey, REPLICA IDENTITY DEFAULT")
    with pytest.raises(CdcError, match="no replica identity"):
        shop.run()
    shop.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    shop.run()
    shop.check()


AGAIN = """
    DROP TABLE orders; CREATE TABLE orders (id bigint PRIMARY KEY, customer int, amount numeric(10,2));
    ALTER PUBLICATION headrace_shop ADD TABLE orders
"""


OUT_AND_IN = """
    ALTER PUBLICATION headrace_shop DROP TABLE orders; INSERT INTO orders VALUES (6, 6, 6);
    ALTER PUBLICATION headrace_shop ADD TABLE orders
"""
LESS_AND_MORE = """
    ALTER PUBLICATION headrace_shop SET (publish = 'insert'); DELETE FROM orders;
    ALTER PUBLICATION headrace_shop SET (publish = 'insert, update, delete, truncate')
"""


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE orders", r"does not have the table public\.orders any more"),
        (AGAIN, r"does not have the table public\.orders any more"),
        ("ALTER TABLE orders RENAME TO bills", r"public\.orders of retail is called public\.bills now"),
        ("ALTER PUBLICATION headrace_shop DROP TABLE orders", "does not have the table"),
        ("ALTER PUBLICATION headrace_shop SET (publish = 'insert')", "does not publish all operations"),
        ("ALTER PUBLICATION headrace_shop SET TABLE customers, orders WHERE (id > 5)", "leaves out rows of"),
        (OUT_AND_IN, r"is not what it was when public\.orders was loaded.*altered, and back"),
        (LESS_AND_MORE, r"is not what it was when public\.customers was loaded"),
        ("DROP PUBLICATION headrace_shop", "does not exist"),
    ],
)
def test_a_publication_that_brings_less_stops_loudly(shop, statement, said):
    fill(shop, 1, 5)
    shop.run()
    head = shop.lake.head()
    try:
        shop.execute(statement)
    except psycopg.Error as error:
        pytest.fail(str(error))
    with pytest.raises(CdcError, match=said):
        capture(shop.open())
    assert shop.lake.head() == head


def test_a_partitioned_table_of_another_schema_is_one_table(shop):
    shop.execute("CREATE SCHEMA warehouse")
    shop.execute(
        "CREATE TABLE warehouse.stock (id bigint PRIMARY KEY, customer int, amount numeric(10,2)) "
        "PARTITION BY RANGE (id)"
    )
    for first in (0, 100):
        bounds = f"FROM ({first}) TO ({first + 100})"
        shop.execute(f"CREATE TABLE warehouse.stock_{first} PARTITION OF warehouse.stock FOR VALUES {bounds}")
    read = DatabaseTable(dsn="retail_dsn", relation="stock", schema_name="warehouse")
    shop.declare((CUSTOMERS, ORDERS.model_copy(update={"read": read})))
    shop.execute("INSERT INTO warehouse.stock SELECT n, n, n FROM generate_series(91, 110) n")
    first = shop.run()
    assert dict(first.tables) == {"raw/shop/orders": 20}
    shop.execute("UPDATE warehouse.stock SET id = id + 89 WHERE id IN (99, 110)")  # one of them moves house
    shop.execute("TRUNCATE orders")  # another table of that name
    second = shop.run()
    assert dict(second.tables) == {"raw/shop/orders": 3}
    held = shop.execute("SELECT id, customer, amount FROM warehouse.stock").fetchall()
    assert {tuple(row.values()) for row in shop.replica("orders").values()} == set(held)
