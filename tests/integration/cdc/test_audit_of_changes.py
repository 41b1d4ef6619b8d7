"""I3 and I6 on what captures really wrote, and each seen when it is broken on purpose."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from include.audit.changes import change_files, check_order, check_slots
from include.audit.lake_reader import LakeReader
from include.audit.tables import downloaded
from include.audit.watermarks import check_watermarks, read_landings
from include.ingestion.capture_feed import feed_of
from include.lake import checkout, open_draft, upload, write_watermark
from include.spec.refs import Position

pytestmark = pytest.mark.integration


@pytest.fixture
def lived(shop):
    shop.execute("INSERT INTO orders SELECT n, n, n FROM generate_series(1, 9) n")
    shop.run()
    shop.execute("UPDATE orders SET amount = amount + 1")
    shop.execute("DELETE FROM orders WHERE id < 4")
    shop.run()
    shop.execute("INSERT INTO customers VALUES (1, 'a', 'b')")
    shop.run()
    return shop


def audited(shop, scratch: Path):
    """Violations of I3, of I6 in the lake, and of I6 against the database."""
    reader = LakeReader.connect(shop.settings)
    chain = reader.main_chain()
    head = chain[0]["id"]
    ordered = []
    for path, files in change_files([item["path"] for item in reader.objects(head)]).items():
        with downloaded(reader, head, path, files, scratch) as log:
            ordered.append(check_order(log))
    assert sum(one.count for one in ordered) > 20
    landings = read_landings(reader, chain)
    assert len(landings) >= 3
    position = (reader.document(head, "raw/shop/_watermark_log.json") or {})["positions"][0]
    slots = check_slots({"shop": position}, {"shop": feed_of(shop.settings, shop.source).dsn})
    assert slots.count == 1
    lake = check_watermarks(landings).violations
    return [fault for one in ordered for fault in one.violations], list(lake), list(slots.violations)


def test_what_captures_wrote_is_kept(lived, tmp_path):
    assert audited(lived, tmp_path) == ([], [], [])


def test_changes_in_another_order_are_seen(lived, tmp_path):
    name = lived.files("orders")[1]
    folder = "raw/shop/orders/changes"
    draft = open_draft(lived.lake, "planted", "planted")
    with checkout(lived.lake, draft, folder) as files:
        table = pq.read_table(files.path(f"{folder}/{name}"))
        swapped = tmp_path / name
        pq.write_table(table.take(list(reversed(range(table.num_rows)))), swapped)
        upload(lived.lake, draft, [swapped], folder)
    lived.publish(draft)
    order, *_ = audited(lived, tmp_path)
    assert [fault.id for fault in order] == [f"{folder}/{name}"]
    assert "behind a later one" in order[0].what


def test_a_slot_ahead_of_main_is_seen(lived, tmp_path):
    lived.execute("INSERT INTO customers VALUES (2, 'a', 'b')")
    lived.execute("SELECT pg_replication_slot_advance('headrace_shop', pg_current_wal_flush_lsn())")
    *kept, slots = audited(lived, tmp_path)
    assert kept == [[], []]
    assert [fault.id for fault in slots] == ["raw/shop/_watermark_log.json"]
    assert "'headrace_shop' has moved on to" in slots[0].what


def test_a_position_behind_its_changes_is_seen(lived, tmp_path):
    value = lived.positions()[0].value
    draft = open_draft(lived.lake, "planted", "planted")
    write_watermark(lived.lake, draft, "shop", Position("lsn", f"0/1@{value.partition('@')[2]}"))
    folder = "raw/shop/orders/changes"
    with checkout(lived.lake, draft, folder) as files:
        path = files.path(f"{folder}/{lived.files('orders')[-1]}")
        first = f"{0:016X}-{1:016X}-00009.parquet"
        upload(lived.lake, draft, {first: path}, folder)
    lived.publish(draft)
    _, lake, slots = audited(lived, tmp_path)
    assert any("names 0/1, but there are changes up to" in fault.what for fault in lake)
    assert len(slots) == 1
