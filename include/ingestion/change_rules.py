"""Captured changes held to the rules of their table: what breaks one goes apart, and no more is lost by it.

A change that is held leaves the row as the change before it did, until a later one is published. Two things
of it are needed all the same. Where it moved a row to another key, the end of the old key stands in the log
in its place: or the row would be there for ever. And a value that only it told (a later change leaves it
out, because it did not change) cannot be filled in: such a later change is held, too.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion import contracts
from include.ingestion.decisions import row_id
from include.ingestion.owed_values import Columns, Key, Owed
from include.ingestion.pgoutput import ChangeBatch, lsn_text
from include.ingestion.pgoutput.changes import DELETE, operations
from include.ingestion.row_text import row_text
from include.ingestion.rules import breaches
from include.ingestion.sieve import BETWEEN_RULES
from include.spec.source import Table

_TEXTS = pa.list_(pa.field("element", pa.string(), nullable=False))
BESIDE = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("rule", pa.string(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("origin", pa.string(), nullable=False),
    pa.field("needs", _TEXTS, nullable=False),
)
"""What a held change has beside the columns of a change; `needs`: ids of those that it waits for."""

_REMEDY = (
    "Nothing was published, and the slot was not moved. The log keeps the change: loosen the rule, or let "
    "the table put such changes apart, on_violation='quarantine'."
)
Masks = Mapping[str, tuple[pa.BooleanArray, str]]


@dataclass(frozen=True)
class Parted:
    """What became of a batch.

    Args:
        good: What goes to the log.
        held: What goes apart, with `BESIDE` before its columns; None for nothing.
        ends: Rows of `good` that are but the end of an old key, whose change is held.
    """

    good: ChangeBatch
    held: ChangeBatch | None
    ends: int


@dataclass(frozen=True)
class _Hold:
    rules: tuple[str, ...]
    reason: str
    id: str
    needs: tuple[str, ...]
    moved: bool


class ChangeRules:
    """The rules of one captured table, asked of its changes in the order of the log.

    Args:
        table: The declaration.
        database: What the database is called, for errors.
        owed: Values that only held changes tell, as main has them; kept up to date.
    """

    def __init__(self, table: Table, database: str, owed: Owed) -> None:
        self.table, self.owed = table, owed
        self._database = database
        self._lock = threading.Lock()

    def parted(self, batch: ChangeBatch) -> Parted:
        """The changes that may be published, in their order, and those that are held.

        Raises:
            ContractError: A row breaks a rule of a table that refuses all for it.
        """
        masks = broken_by(self.table, batch.data)
        if not masks and not self.owed.keys:
            return Parted(batch, None, 0)
        wrong = _any_of(masks)
        if wrong and self.table.on_violation == "refuse":
            raise self._refused(batch, masks, wrong)
        with self._lock:
            holds = _Walk(self.table, batch.data, masks, self.owed).holds(wrong)
        return _part(batch, holds) if holds else Parted(batch, None, 0)

    def _refused(self, batch: ChangeBatch, masks: Masks, wrong: Sequence[int]) -> contracts.ContractError:
        first, data = wrong[0], batch.data
        said = [reason for mask, reason in masks.values() if mask[first].as_py()]
        rules = [name for name, (mask, _) in masks.items() if mask[first].as_py()]
        columns = sorted({name[name.index("(") + 1 : -1] for name in rules})
        kinds = ", ".join(f"{name} is {batch.shape.column(name).type}" for name in columns)
        where, what = lsn_text(data.column("commit_lsn")[first].as_py()), data.column("operation")[first]
        more = f" (and {len(wrong) - 1} more near it)" if len(wrong) > 1 else ""
        return contracts.ContractError(
            f"database {self._database}, table {batch.shape.name}, at {where}: the row of the {what} breaks "
            f"{BETWEEN_RULES.join(rules)}{more}; {kinds}. Accepted: {'; '.join(said)}.",
            remedy=_REMEDY,
            table=self.table.name,
            lsn=where,
        )


def broken_by(table: Table, data: pa.RecordBatch) -> Masks:
    """What new rows of changes break, by rule; nothing for what every one keeps.

    A value that was left out because it did not change keeps every rule: it was judged when it came. One that
    its type cannot hold, such as an infinite date, keeps none.

    Args:
        table: The declaration.
        data: Changes of one shape.
    """
    if not table.rules_of_changes or "row" not in data.schema.names:
        return {}
    row = data.column("row")
    given = dict(zip((field.name for field in row.type), row.flatten(), strict=True))
    fields = [field for field in contracts.arrow_schema(table) if field.name in given]
    rules = [rule for rule in table.rules_of_changes if rule.column in given]
    names = [field.name for field in fields]
    plain = pa.RecordBatch.from_arrays([given[name] for name in names], names=names)
    there, special, masks = row.is_valid(), _special(data), {}
    for name, (mask, reason) in breaches(fields, rules, plain, {}).items():
        column = name[name.index("(") + 1 : -1]
        if name.startswith("not_null("):
            mask = pc.and_not(pc.and_not(mask, _named(data.column("unchanged"), column)), special(column))
        masks[name] = (pc.and_(mask, there), reason)
    for rule in rules:
        strange = special(rule.column)
        if strange.true_count:
            mask, reason = masks.get(rule.name, (strange, f"{rule.column} must be {rule.accepted}"))
            masks[rule.name] = (pc.or_(mask, strange), reason)
    return {name: found for name, found in masks.items() if found[0].true_count}


class _Walk:
    """One batch, change by change, as far as its changes concern rows that are held.

    Args:
        table: The declaration.
        data: The changes.
        masks: What they break.
        owed: Kept up to date.
    """

    def __init__(self, table: Table, data: pa.RecordBatch, masks: Masks, owed: Owed) -> None:
        self.table, self.data, self.masks, self.owed = table, data, masks, owed
        row = data.schema.field("row").type if "row" in data.schema.names else ()
        self.names = {field.name for field in row}
        self.long = tuple(field.name for field in row if _may_be_left_out(field.type))

    def holds(self, wrong: Sequence[int]) -> dict[int, _Hold]:
        """The rows that are held.

        Args:
            wrong: Those that break a rule, ascending.
        """
        broken = dict(zip(wrong, self.data.take(pa.array(wrong, pa.int64())).to_pylist(), strict=True))
        found = {}
        for index in self._concerned(wrong):
            change = broken.get(index) or self.data.slice(index, 1).to_pylist()[0]
            hold = self._take(change, index, index in broken)
            if hold is not None:
                found[index] = hold
        return found

    def _concerned(self, wrong: Sequence[int]) -> Iterator[int]:
        """The changes that have to do with a row that is held, as it is known by then."""
        if not self.table.key or not (self.owed.keys or self.long):
            yield from wrong
            return
        new, old = _keys(self.data, "row", self.table.key), _keys(self.data, "old", self.table.key)
        emptied = pc.equal(self.data.column("operation").cast(pa.string()), "truncate").to_pylist()
        broken = set(wrong)
        for index in range(self.data.num_rows):
            if (
                index in broken
                or emptied[index]
                or new[index] in self.owed.keys
                or old[index] in self.owed.keys
            ):
                yield index

    def _take(self, change: Mapping[str, Any], index: int, broken: bool) -> _Hold | None:
        """Go one change further; why it is held, if it is."""
        what = change["operation"]
        if what == "truncate":
            self.owed.keys.clear()
            return None
        new, old = _key(change, "row", self.table.key), _key(change, "old", self.table.key)
        if what == "delete":
            self.owed.told(old)
            return None
        moved = what == "update" and (old is not None) and (old != new or not self.table.key)
        line = self.owed.keys.get((old if moved else new) or (), {}) if what == "update" else {}
        left_out = set(change["unchanged"])
        lacking = {name: ids for name, ids in line.items() if self._lacks(name, left_out)}
        hold = self._hold(change, index, broken, lacking, moved) if broken or lacking else None
        if moved:
            self.owed.told(old)
        if hold is None or not self.table.key:
            self.owed.told(new)
            return hold
        owes: Columns = {name: (hold.id,) for name in self.long if name not in left_out}
        if moved:
            owes |= {name: (hold.id, *line.get(name, ())) for name in self.long if name in left_out}
        elif what == "update":
            owes = {**line, **owes}
        self.owed.owe(new, owes)
        return hold

    def _lacks(self, name: str, left_out: Set[str]) -> bool:
        """Whether a change leaves out a value that is owed; one that has another name by now might be it."""
        return name in left_out or (bool(left_out) and name not in self.names)

    def _hold(
        self,
        change: Mapping[str, Any],
        index: int,
        broken: bool,
        lacking: Mapping[str, tuple[str, ...]],
        moved: bool,
    ) -> _Hold:
        rules = [name for name, (mask, _) in self.masks.items() if broken and mask[index].as_py()]
        reasons = [self.masks[name][1] for name in rules]
        for name in sorted(lacking):
            rules.append(f"unchanged({name})")
            reasons.append(f"{name} is what a change says that is held")
        needs = tuple(sorted({one for ids in lacking.values() for one in ids}))
        return _Hold(tuple(rules), "; ".join(reasons), change_id(change), needs, moved)


def change_id(change: Mapping[str, Any]) -> str:
    """The name of a held change: of its place in the log and its new row."""
    place = f"{lsn_text(change['commit_lsn'])}:{change['sequence']}"
    return row_id(f"{place}:{row_text(change['row'])}")


def _part(batch: ChangeBatch, holds: Mapping[int, _Hold]) -> Parted:
    data, rows = batch.data, sorted(holds)
    moved = [index for index in rows if holds[index].moved]
    places = np.arange(data.num_rows)
    places[moved] = data.num_rows + np.arange(len(moved))
    stays = np.ones(data.num_rows, bool)
    stays[[index for index in rows if not holds[index].moved]] = False
    whole = pa.Table.from_batches([data, _ends(data, moved)] if moved else [data])
    good = one_batch(whole.take(pa.array(places[stays])))
    taken = data.take(pa.array(rows, pa.int64()))
    beside = [
        [holds[index].id for index in rows],
        [BETWEEN_RULES.join(holds[index].rules) for index in rows],
        [holds[index].reason for index in rows],
        [lsn_text(lsn) for lsn in taken.column("commit_lsn").to_pylist()],
        [list(holds[index].needs) for index in rows],
    ]
    columns = [pa.array(values, field.type) for values, field in zip(beside, BESIDE, strict=True)]
    schema = pa.schema([*BESIDE, *data.schema], metadata=data.schema.metadata)
    held = pa.RecordBatch.from_arrays([*columns, *taken.columns], schema=schema)
    return Parted(ChangeBatch(batch.shape, good), ChangeBatch(batch.shape, held), len(moved))


def _ends(data: pa.RecordBatch, rows: Sequence[int]) -> pa.RecordBatch:
    """What changes of keys do to the old keys, as deletes in their places."""
    taken = data.take(pa.array(rows, pa.int64()))
    special = [
        [(path, text) for path, text in pairs if path.startswith("old.")]
        for pairs in taken.column("special").to_pylist()
    ]
    other = {
        "operation": operations(np.full(len(rows), DELETE, np.int8)),
        "row": pa.nulls(len(rows), data.schema.field("row").type),
        "unchanged": pa.array([[] for _ in rows], data.schema.field("unchanged").type),
        "special": pa.array(special, data.schema.field("special").type),
    }
    columns = [other.get(name, taken.column(name)) for name in data.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=data.schema)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """All rows of a table as one batch."""
    batches = table.unify_dictionaries().combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _any_of(masks: Masks) -> list[int]:
    if not masks:
        return []
    wrong = np.logical_or.reduce([np.asarray(mask) for mask, _ in masks.values()])
    rows: list[int] = np.flatnonzero(wrong).tolist()
    return rows


def _may_be_left_out(kind: pa.DataType) -> bool:
    """Whether a value can be long enough to be stored apart from its row."""
    fixed = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return not (fixed or pa.types.is_temporal(kind))


def _named(lists: pa.Array, name: str) -> pa.BooleanArray:
    """Which lists have a name in them."""
    mask = np.zeros(len(lists), bool)
    mask[pc.list_parent_indices(lists).filter(pc.equal(pc.list_flatten(lists), name))] = True
    return pa.array(mask)


def _texts(data: pa.RecordBatch) -> list[dict[str, str]] | None:
    """Texts of what the types of each change cannot hold; None where they hold all, as nearly always."""
    maps = data.column("special")
    return [dict(pairs) for pairs in maps.to_pylist()] if np.diff(np.asarray(maps.offsets)).any() else None


def _special(data: pa.RecordBatch) -> Any:
    """Tells of a column of the new row, where its type could not hold its value."""
    texts = _texts(data)
    if texts is None:
        none = pa.array(np.zeros(data.num_rows, bool))
        return lambda _name: none
    return lambda name: pa.array([f"row.{name}" in own for own in texts])


def _keys(data: pa.RecordBatch, side: str, key: Sequence[str]) -> list[Key | None]:
    """The key of each new, or old, row."""
    if side not in data.schema.names:
        return [None] * data.num_rows
    rows, special = data.column(side), _texts(data)
    parts = [rows.flatten()[rows.type.get_field_index(name)].to_pylist() for name in key]
    there = rows.is_valid().to_pylist()
    if special is None:
        return [
            tuple(map(str, values)) if present else None
            for present, *values in zip(there, *parts, strict=True)
        ]
    return [
        _key_of(key, values, texts, side) if present else None
        for present, texts, *values in zip(there, special, *parts, strict=True)
    ]


def _key(change: Mapping[str, Any], side: str, key: Sequence[str]) -> Key | None:
    row = change.get(side)
    return None if row is None else _key_of(key, [row[name] for name in key], dict(change["special"]), side)


def _key_of(key: Sequence[str], values: Sequence[Any], special: Mapping[str, str], side: str) -> Key:
    pairs = zip(key, values, strict=True)
    return tuple(special[f"{side}.{name}"] if value is None else str(value) for name, value in pairs)
