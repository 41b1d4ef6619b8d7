"""Defects that other tools for change data capture have had, each with the history that showed it there."""

import pytest

from include.ingestion import cdc
from include.ingestion.capture_feed import feed_of
from include.ingestion.cdc import capture, confirm, retention
from include.ingestion.connectors.postgres_slot import SlotError, drop_slot
from include.ingestion.connectors.postgres_snapshot import read_range
from include.ingestion.pgoutput import LogPosition
from include.spec.source import Column
from tests.integration.cdc.capturing import CUSTOMERS, ORDERS

pytestmark = pytest.mark.integration

CITY = Column(name="city", type="string", nullable=True)
WITH_CITY = CUSTOMERS.model_copy(update={"columns": (*CUSTOMERS.columns, CITY)})


@pytest.fixture
def filled(shop):
    shop.execute("INSERT INTO customers SELECT n, 'c' || n, repeat('x', 3000) FROM generate_series(1, 20) n")
    shop.execute("INSERT INTO orders SELECT n, n, n FROM generate_series(1, 20) n")
    shop.run()
    return shop


def confirmed(shop):
    return retention(shop.settings, shop.source).confirmed


def main_lsn(shop):
    return LogPosition.of(shop.positions()[0]).lsn


def test_the_slot_was_acknowledged_before_the_state_was_saved(filled, monkeypatch):
    """A write that fails after the read must find the changes again."""
    before = confirmed(filled)
    filled.execute("DELETE FROM orders WHERE id <= 10")

    def fails(*_):
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(cdc, "write_watermark", fails)
        with pytest.raises(OSError, match="no room"):
            filled.run()
    capture(filled.open())  # and one whose draft is lost
    assert confirmed(filled) == before
    assert filled.run().rows == 10
    filled.check()


def test_rows_were_lost_while_the_schema_was_rebuilt(filled):
    """Changes right before, within and right behind transactions that alter the table, in one window."""
    filled.declare((WITH_CITY, ORDERS))
    filled.execute("INSERT INTO customers VALUES (21, 'before', 'x')")
    with filled.connection.transaction():
        filled.execute("INSERT INTO customers VALUES (22, 'within, before', 'x')")
        filled.execute("ALTER TABLE customers ADD city text")
        filled.execute("INSERT INTO customers VALUES (23, 'within, behind', 'x', 'Oslo')")
    filled.execute("INSERT INTO customers VALUES (24, 'behind', 'x', 'Rome')")
    filled.execute("UPDATE customers SET city = 'Bonn' WHERE id = 1")
    assert filled.run().rows == 5
    found = filled.replica("customers")
    assert sorted(found) == list(range(1, 25))
    assert [found[number].get("city") for number in (1, 21, 22, 23, 24)] == [
        "Bonn",
        None,
        None,
        "Oslo",
        "Rome",
    ]


def test_the_slot_was_never_confirmed(filled):
    """The log piled up on the source's disk although every change had arrived."""
    for number in range(100, 103):
        filled.execute(
            "INSERT INTO orders SELECT n, 1, 1 FROM generate_series(%s::int, %s) n",
            (number * 100, number * 100 + 99),
        )
        assert filled.run().rows == 100
        assert confirmed(filled) == main_lsn(filled)


def test_an_unchanged_toasted_value_became_null(filled):
    filled.execute("UPDATE customers SET name = 'renamed' WHERE id <= 5")
    filled.execute("UPDATE customers SET story = NULL WHERE id = 6")
    filled.run()
    found = filled.replica("customers")
    assert [found[number]["story"] for number in range(1, 7)] == ["x" * 3000] * 5 + [None]
    unchanged = [
        change["unchanged"] for change in filled.changes("customers") if change["operation"] == "update"
    ]
    assert unchanged == [["story"]] * 5 + [[]]
    filled.check()


def test_the_snapshot_was_lost_when_a_first_load_was_resumed(shop, monkeypatch):
    """A first load that dies half way: the next reads all of one new snapshot, not the rest of another."""
    shop.execute("INSERT INTO customers SELECT n, 'c' || n, 'x' FROM generate_series(1, 50) n")
    shop.execute("INSERT INTO orders SELECT n, n, n FROM generate_series(1, 50) n")
    done = []

    def dies(feed, slot, part):
        yield from read_range(feed, slot, part)
        done.append(part)
        if len(done) == 2:
            raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(cdc, "read_range", dies)
        with pytest.raises(OSError, match="killed"):
            shop.run()
    shop.execute("UPDATE customers SET name = 'later' WHERE id <= 10")
    shop.execute("DELETE FROM orders WHERE id <= 10")
    shop.execute("INSERT INTO orders VALUES (51, 1, 1)")
    assert shop.run().rows == 50 + 41
    shop.execute("DELETE FROM orders WHERE id = 51")
    assert shop.run().rows == 1
    shop.check()


def test_it_crashed_between_the_commit_and_the_acknowledgement(filled):
    """What main holds is not given again, though the slot still has it."""
    filled.execute("INSERT INTO orders VALUES (21, 1, 1)")
    desk = filled.open()
    captured = capture(desk)
    filled.publish(desk.draft)
    assert confirmed(filled) < LogPosition.of(captured.position).lsn  # here it died
    filled.execute("UPDATE orders SET amount = 2 WHERE id = 21")
    again = filled.open()
    assert capture(again).rows == 1
    filled.publish(again.draft)
    confirm(filled.lake, filled.settings, filled.source)
    assert [change["operation"] for change in filled.changes("orders") if change["row"]["id"] == 21] == [
        "insert",
        "update",
    ]
    filled.check()


def test_the_slot_was_dropped_and_made_again_in_silence(filled):
    """A slot of the same name that lacks a change: no run goes on from there, and main stays as it is."""
    head, feed = filled.lake.head(), feed_of(filled.settings, filled.source)
    drop_slot(feed)
    filled.execute("DELETE FROM orders WHERE id = 1")  # in no slot
    filled.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (feed.slot,))
    filled.execute("DELETE FROM orders WHERE id = 2")
    for _ in range(2):
        with pytest.raises(SlotError, match="made again"):
            filled.run()
    assert filled.lake.head() == head
    assert len(filled.replica("orders")) == 20
