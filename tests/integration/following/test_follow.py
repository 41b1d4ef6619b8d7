"""Following: what is committed in the database is on main, in order and once, and the slot keeps up."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.ingestion.cdc import retention
from include.lake import open_draft, upload
from include.lake.history import log
from include.lake.retention import refused
from include.orchestration import following, journal
from include.orchestration.following import Follower, Window, concern_of, publish_window, watch_retention
from include.validation.changes import judge_changes

DEADLINE_S = 60.0


def follower(shop, heard=None, stop=None, **options):
    windows: list[Window] = [] if heard is None else heard
    return Follower(
        shop.lake, shop.settings, shop.source, windows.append, stop or threading.Event(), **options
    )


@contextmanager
def following_on(shop) -> Iterator[list[Window]]:
    """A follower at work while the block lasts; it must end without an error."""
    heard: list[Window] = []
    failed: list[Exception] = []
    stop = threading.Event()

    def work() -> None:
        try:
            follower(shop, heard, stop).follow()
        except Exception as error:  # noqa: BLE001  # raised by the block
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not failed, failed
    assert not thread.is_alive()


def wait_until(true, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


def test_the_tables_and_then_their_changes_are_on_main_once(shop):
    first = follower(shop).follow(quiet_s=0)
    assert (first.windows, first.rows, first.quiet) == (1, 1100, True)
    assert {change["operation"] for change in shop.changes("orders")} == {"read"}
    shop.execute("UPDATE orders SET amount = 7 WHERE order_id = 3")
    shop.execute("DELETE FROM customers WHERE customer_id = 5")
    shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    second = follower(shop).follow(quiet_s=0)
    assert (second.windows, second.rows) == (1, 3)
    assert [one["operation"] for one in shop.changes("orders")][1000:] == ["update", "insert"]
    for table in ("orders", "customers"):
        assert shop.state(table) == shop.table(table)
    confirmed, active = shop.slot()
    assert (confirmed, active) == (shop.position(), False)
    head = shop.lake.head()
    third = follower(shop).follow(quiet_s=0)
    assert (third.windows, third.rows) == (0, 0)
    assert shop.lake.head() == head


def test_every_commit_of_main_names_its_suite_and_rows(shop):
    follower(shop).follow(quiet_s=0)
    shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25), (5001, 1, 2)")
    follower(shop).follow(quiet_s=0)
    latest, before = list(log(shop.lake, limit=2))
    assert latest.record is not None
    assert before.record is not None
    assert latest.record.rows == {"raw/shop/orders": 2}
    assert before.record.rows == {"raw/shop/customers": 100, "raw/shop/orders": 1000}
    assert latest.record.suite_hash == before.record.suite_hash != ""
    assert latest.record.checked >= 8
    assert latest.message == "Capture shop: 2 changes of orders"


def test_changes_arrive_while_they_are_made_and_in_the_order_of_their_keys(shop):
    with following_on(shop) as heard:
        wait_until(lambda: heard, "the first load")
        for number in range(60):
            shop.execute("UPDATE orders SET amount = %s WHERE order_id = %s", (number, 1 + number % 3))
            time.sleep(0.05)
        wait_until(lambda: sum(window.captured.rows for window in heard) == 1160, "all changes")
    assert len(heard) > 2
    updates = [change for change in shop.changes("orders") if change["operation"] == "update"]
    assert [int(change["row"]["amount"]) for change in updates] == list(range(60))
    places = [(change["commit_lsn"], change["sequence"]) for change in updates]
    assert places == sorted(set(places))
    assert shop.state("orders") == shop.table("orders")


def test_a_follower_outlives_its_connections(shop):
    with following_on(shop) as heard:
        wait_until(lambda: heard, "the first load")
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
            (shop.connection.info.dbname, shop.connection.info.backend_pid),
        )
        wait_until(lambda: shop.superuser.execute(*cut).fetchone()[0], "a connection to cut")
        shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
        wait_until(lambda: len(shop.state("orders")) == 1001, "the change behind the cut")


def test_log_of_other_tables_does_not_pile_up_behind_the_slot(shop):
    follower(shop).follow(quiet_s=0)
    before = shop.slot()[0]
    shop.execute("INSERT INTO elsewhere SELECT n, repeat(md5(n::text), 40) FROM generate_series(1, 15000) n")
    done = follower(shop).follow(quiet_s=0)
    assert (done.windows, done.rows) == (1, 0)
    assert shop.slot()[0] == shop.position() != before


def test_a_window_that_ends_early_leaves_the_rest_to_the_next(shop):
    follower(shop).follow(quiet_s=0)
    for first in range(0, 4000, 1000):
        shop.execute(
            "INSERT INTO orders SELECT 10000 + n, 1, n FROM generate_series(%s::int, %s::int) n",
            (first, first + 999),
        )
    done = follower(shop, window_bytes=65536).follow(quiet_s=0)
    assert done.windows >= 2
    assert done.rows == 4000
    assert shop.state("orders") == shop.table("orders")


def test_a_window_that_was_merged_before_its_slot_moved_is_not_published_again(shop, monkeypatch):
    follower(shop).follow(quiet_s=0)
    shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(following, "confirm", die)
        with pytest.raises(KeyboardInterrupt):
            publish_window(shop.lake, shop.settings, shop.source)
    assert shop.slot()[0] != shop.position()
    done = follower(shop).follow(quiet_s=0)
    assert done.rows == 0
    assert shop.slot()[0] == shop.position()
    assert len(shop.changes("orders")) == 1001


def test_a_refused_window_leaves_main_and_the_slot(shop, monkeypatch):
    follower(shop).follow(quiet_s=0)
    shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    before, slot = shop.lake.head(), shop.slot()
    judged = judge_changes

    def strict(*arguments, **options):
        return judged(*arguments, **options, expectations=rules)

    rules = shop.settings.home / "rules"
    text = Path("expectations/raw/changes.json").read_text().replace('"insert",', "", 1)
    (rules / "raw").mkdir(parents=True)
    (rules / "raw" / "changes.json").write_text(text)
    with monkeypatch.context() as patched:
        patched.setattr(following, "judge_changes", strict)
        with pytest.raises(following.RefusedChanges, match=r"1 of 8 rules .*\(operation\)"):
            follower(shop).follow(quiet_s=0)
    assert (shop.lake.head(), shop.slot()) == (before, slot)
    assert len(list(refused(shop.lake))) == 1
    assert follower(shop).follow(quiet_s=0).rows == 1


def test_the_gate_sees_changes_that_cannot_be(shop, tmp_path):
    follower(shop).follow(quiet_s=0)
    shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    follower(shop).follow(quiet_s=0)
    good = pa.Table.from_pylist(shop.changes("orders")[-1:])
    bad = {
        "twice": pa.concat_tables([good, good]),
        "without a place": good.set_column(
            good.schema.get_field_index("sequence"), "sequence", pa.array([None], pa.int64())
        ),
        "with a row": good.set_column(0, "operation", pa.array(["delete"])),
        "unknown": good.set_column(0, "operation", pa.array(["upsert"])),
    }
    for number, (name, table) in enumerate(bad.items()):
        draft = open_draft(shop.lake, f"bad-{number}", "test")
        file = tmp_path / f"{number}.parquet"
        pq.write_table(table, file)
        upload(shop.lake, draft, {"x.parquet": file}, "raw/shop/orders/changes")
        verdict = judge_changes(shop.lake, shop.settings, draft, "shop")
        assert not verdict.passed, name
        assert 1 <= len(verdict.findings) <= 2, (name, verdict.findings)
    empty = judge_changes(shop.lake, shop.settings, open_draft(shop.lake, "none", "test"), "shop")
    assert empty.passed
    assert empty.checked == 8


def test_log_that_is_kept_too_long_alerts_the_owner(shop, home):
    follower(shop).follow(quiet_s=0)
    assert list(journal.entries(home, journal.ALERTS)) == []
    shop.execute("INSERT INTO orders SELECT 10000 + n, 1, n FROM generate_series(1, 1000) n")
    tight = shop.source.model_copy(
        update={"capture": shop.source.capture.model_copy(update={"alert_retained_bytes": 1000})}
    )
    watch_retention(shop.settings, tight, run="manual__1")
    (kept,) = journal.entries(home, journal.ALERTS)
    assert (kept["owner"], kept["dag"], kept["run"]) == (shop.source.owner, "ingest_cdc__shop", "manual__1")
    assert shop.source.capture.slot in kept["error"]
    assert "keeps" in kept["error"]


def test_what_somebody_should_look_at(shop):
    follower(shop).follow(quiet_s=0)
    state = retention(shop.settings, shop.source)
    assert concern_of(state, 2**30) == ""
    assert "keeps" in concern_of(replace(state, restart=state.end - 11), 10)
    assert "unreserved" in concern_of(replace(state, wal_status="unreserved"), 2**30)
    assert "only 5 bytes" in concern_of(replace(state, safe_bytes=5), 2**30)
