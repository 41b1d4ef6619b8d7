"""Captured changes held to rules, over random histories: none is lost, and all back is the log as it was."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.ingestion.change_log import ChangeLog
from include.ingestion.change_rules import BESIDE, ChangeRules, broken_by
from include.ingestion.contracts import ContractError
from include.ingestion.held_changes import alike, woven
from include.ingestion.owed_values import Owed
from include.ingestion.pgoutput import ChangeBatch, ShapeColumn, TableShape
from include.ingestion.pgoutput.changes import change_schema
from include.ingestion.pgoutput.types import Reading
from include.spec.contract import Range, References
from include.spec.reads import DatabaseTable
from include.spec.source import Column, Table

SHAPE = TableShape(
    7,
    "public",
    "people",
    "default",
    (
        ShapeColumn("id", "int4", 23, -1, True),
        ShapeColumn("story", "text", 25, -1, False),
        ShapeColumn("age", "int4", 23, -1, False),
    ),
)
SCHEMA = change_schema(
    SHAPE, (Reading(pa.int32(), "number"), Reading(pa.string(), "text"), Reading(pa.int32(), "number"))
)
PEOPLE = Table(
    name="people",
    description="One person.",
    read=DatabaseTable(dsn="retail_dsn"),
    key=("id",),
    columns=(
        Column(name="id", type="int32"),
        Column(name="story", type="string"),
        Column(name="age", type="int32", nullable=True),
    ),
    rules=(Range(column="age", minimum=0), References(column="age", table="ages")),
    on_violation="quarantine",
)
Rows = dict[int, dict[str, Any]]


def a_batch(changes: list[dict[str, Any]]) -> ChangeBatch:
    return ChangeBatch(SHAPE, pa.RecordBatch.from_pylist(changes, SCHEMA))


def a_change(what: str, lsn: int, sequence: int, **more: Any) -> dict[str, Any]:
    place = {"operation": what, "lsn": lsn, "commit_lsn": lsn, "sequence": sequence, "transaction_id": lsn}
    return {**place, "committed_at": lsn, "old": None, "row": None, "unchanged": [], "special": [], **more}


def lived(dice: random.Random, count: int) -> tuple[list[dict[str, Any]], Rows]:
    """A history of a table as the source tells it, and what it left."""
    rows: Rows = {}
    changes: list[dict[str, Any]] = []
    while len(changes) < count:
        lsn, place = 100 + 10 * (len(changes) // 3), len(changes) % 3
        key, to = dice.randrange(5), dice.randrange(5)
        what = dice.choice(["insert", "age", "age", "story", "move", "move", "delete"])
        if dice.random() < 0.02:
            rows.clear()
            changes.append(a_change("truncate", lsn, place))
        elif (what == "insert") == (key in rows) or (what == "move" and (to in rows)):
            continue
        elif what == "delete":
            del rows[key]
            changes.append(a_change("delete", lsn, place, old={"id": key}))
        else:
            fresh = what in ("insert", "story")
            story = f"story {len(changes)}" if fresh else rows[key]["story"]
            now = to if what == "move" else key
            row = {"id": now, "story": story, "age": dice.choice([-1, 1, 2, None])}
            rows.pop(key, None)
            rows[now] = row
            told = {
                "row": row | ({} if fresh else {"story": None}),
                "unchanged": [] if fresh else ["story"],
                "old": {"id": key} if what == "move" else None,
            }
            changes.append(a_change("insert" if what == "insert" else "update", lsn, place, **told))
    return changes, rows


def replayed(changes: list[dict[str, Any]]) -> Rows:
    """The table as staged tables make it of a log, whatever is missing there."""
    rows: Rows = {}
    for change in changes:
        old, row = change["old"], change["row"]
        if row is None:
            rows = {} if old is None else {key: one for key, one in rows.items() if key != old["id"]}
            continue
        before = rows.pop(old["id"] if old else row["id"], None)
        if change["unchanged"]:
            assert before is not None, ("a value that no change tells", change)
            row = row | {"story": before["story"]}
        rows[row["id"]] = row
    return rows


@pytest.mark.parametrize("seed", range(15))
def test_no_history_loses_a_change_or_a_value(tmp_path: Path, seed: int):
    dice = random.Random(seed)
    changes, source = lived(dice, 60)
    assert replayed(changes) == source
    rules, log, held, start = ChangeRules(PEOPLE, "shop", Owed()), ChangeLog(tmp_path), 0, 0
    while start < len(changes):
        # As windows do it: what is owed goes by way of the lake.
        rules = ChangeRules(PEOPLE, "shop", Owed.of(rules.owed.document().encode(), "x"))
        end = min(start + dice.randint(1, 15), len(changes))
        parted = rules.parted(a_batch(changes[start:end]))
        log.append("log", parted.good)
        apart = parted.held.data.num_rows if parted.held is not None else 0
        if parted.held is not None:
            log.append("held", parted.held)
        assert parted.good.data.num_rows - parted.ends + apart == end - start
        held += apart
        start = end
    log.close()
    (kept,) = log._files["log"]
    found = pq.read_table(kept).to_pylist()
    table = pq.read_table(log._files["held"][0])
    places = {(one["commit_lsn"], one["sequence"]) for one in table.to_pylist()}
    whole = [one for one in found if (one["commit_lsn"], one["sequence"]) not in places]
    assert len(whole) + held == len(changes)
    assert held > 3
    told = replayed(found)
    assert told.keys() <= source.keys()
    wrong = {key for key in source if told.get(key) != source[key]}
    assert wrong <= {one["row"]["id"] for one in table.to_pylist()}
    data = table.drop_columns([field.name for field in BESIDE]).combine_chunks().to_batches()[0]
    back = [one for part in woven([kept], [ChangeBatch(SHAPE, alike(data))]) for one in part.data.to_pylist()]
    assert back == a_batch(changes).data.to_pylist(), "the log of a capture without rules"
    assert rules.owed.without({one["id"] for one in table.to_pylist()}).keys == {}


def test_what_is_not_there_what_was_left_out_and_what_no_type_can_hold():
    rows = [
        a_change("insert", 1, 0, row={"id": 1, "story": None, "age": None}),
        a_change("update", 1, 1, row={"id": 1, "story": None, "age": 3}, unchanged=["story"]),
        a_change("insert", 1, 2, row={"id": 2, "story": "x", "age": None}, special=[("row.age", "NaN")]),
        a_change("insert", 1, 3, row={"id": 3, "story": None, "age": 3}, special=[("row.story", "?")]),
        a_change("delete", 1, 4, old={"id": 3}, special=[("old.id", "9")]),
    ]
    for first in (0, 1):  # a slice has offsets of its own
        masks = broken_by(PEOPLE, a_batch(rows).data.slice(first))
        told = {name: mask.to_pylist() for name, (mask, _) in masks.items()}
        wanted = {"not_null(story)": [True, False, False, False, False]} if first == 0 else {}
        wanted |= {"range(age)": [False, False, True, False, False]}
        assert told == {name: values[first:] for name, values in wanted.items()}


def test_one_that_refuses_says_where_and_what_and_not_the_value():
    table = PEOPLE.model_copy(update={"on_violation": "refuse"})
    good = a_change("insert", 2**32 + 0xAB, 0, row={"id": 1, "story": "s", "age": 1})
    bad = a_change("insert", 2**32 + 0xAB, 1, row={"id": 2, "story": "s", "age": -77})
    rules = ChangeRules(table, "shop", Owed())
    assert rules.parted(a_batch([good])).held is None
    with pytest.raises(
        ContractError, match=r"public\.people, at 1/AB: .*range\(age\); age is int4"
    ) as refused:
        rules.parted(a_batch([good, bad]))
    assert "-77" not in str(refused.value)
    assert "Accepted: age must be 0 or more." in str(refused.value)
