"""Customers with an age, and a rule about it: what is held of their changes, and how it comes back."""

from typing import Any

import pyarrow.parquet as pq

from include.ingestion.held_changes import changes_held, release_changes, replay_changes
from include.ingestion.quarantine import balance_metadata
from include.ingestion.release import Choice
from include.lake import checkout, commit_draft, merge_draft
from include.lake.objects import list_objects
from include.spec.contract import Matches, Range
from include.spec.source import Column
from tests.integration.cdc.capturing import CUSTOMERS, ORDERS, PASSED, Shop

LONG = "repeat(md5(random()::text), 100)"
# Ages are small numbers; a negative one is what nobody can have.
PEOPLE = CUSTOMERS.model_copy(
    update={
        "columns": (*CUSTOMERS.columns, Column(name="age", type="int32", nullable=True)),
        "rules": (Range(column="age", minimum=0, maximum=150), Matches(column="name", pattern="[a-z0-9]*")),
        "on_violation": "quarantine",
    }
)
RULED = (PEOPLE, ORDERS)


def insert(shop: Shop, key: int, age: int, story: str = LONG) -> None:
    shop.execute(f"INSERT INTO customers VALUES ({key}, 'n', {story}, {age})")


def held(shop: Shop, table: str = "customers") -> list[dict[str, Any]]:
    """What is held of a table on main, in order."""
    prefix = f"quarantine/shop/{table}/held"
    stats = [stat.path for stat in list_objects(shop.lake, shop.lake.head(), prefix)]
    names = [path for path in stats if path.endswith(".parquet")]
    if not names:
        return []
    with checkout(shop.lake, shop.lake.head(), prefix) as files:
        return [row for name in names for row in pq.read_table(files.path(name)).to_pylist()]


def staged(shop: Shop, table: str = "customers") -> dict[Any, dict[str, Any]]:
    """The table as staged tables make it of a log: by key, in its order, whatever is missing there.

    As strict as they are where it matters: a value that was left out must be told by a change before.
    """
    rows: dict[Any, dict[str, Any]] = {}
    for change in shop.changes(table):
        old, row = change["old"], change["row"]
        match change["operation"]:
            case "truncate":
                rows.clear()
            case "delete":
                rows.pop(old["id"], None)
            case _:
                before = rows.pop(old["id"] if old else row["id"], {})
                # What no change before tells is no key of it, and so an error.
                kept = {name: before[name] for name in change["unchanged"]}
                rows[row["id"]] = row | kept
    return rows


def take_out(shop: Shop, ids: set[str] | None = None, rule: str = "", table: str = "customers") -> int:
    """Release what is chosen, or replay all without a choice; how many came back."""
    desk, of = shop.open(), shop.source.table(table)
    if ids is None and not rule:
        moved = replay_changes(desk, of)
    else:
        moved = release_changes(desk, of, Choice("ann@shop.example", "true", tuple(sorted(ids or ())), rule))
    assert (moved.rows_in, moved.quarantined) == (0, -moved.rows)
    if moved.rows:
        commit_draft(shop.lake, desk.draft, "Take out", balance_metadata([moved]), PASSED)
        merge_draft(shop.lake, desk.draft)
    return moved.rows


def ids_of(shop: Shop) -> set[str]:
    at, table = shop.lake.head(), shop.source.table("customers")
    return {one["id"] for one in changes_held(shop.lake, at, shop.source, table)}
