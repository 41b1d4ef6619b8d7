"""The decoder: batches of binary messages in, change batches out, with transactions across batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ingestion.pgoutput.changes import (
    DELETE,
    INSERT,
    TRUNCATE,
    UPDATE,
    ChangeBatch,
    Layout,
    SchemaChange,
    operations,
)
from include.ingestion.pgoutput.errors import broken
from include.ingestion.pgoutput.messages import (
    LogicalMessage,
    RelationMessage,
    logical_message,
    relation_message,
    truncate_message,
    type_message,
)
from include.ingestion.pgoutput.rows import row_columns
from include.ingestion.pgoutput.shape import ShapeColumn, TableShape
from include.ingestion.pgoutput.transactions import Transactions
from include.ingestion.pgoutput.types import Catalogue, PgType
from include.ingestion.pgoutput.wire import Wire

Event = ChangeBatch | SchemaChange | LogicalMessage
_CODES = np.full(256, -1, np.int8)
_CODES[[ord(tag) for tag in "IUDT"]] = [INSERT, UPDATE, DELETE, TRUNCATE]
_RARE = np.zeros(256, np.bool_)
_RARE[[ord(tag) for tag in "RYTM"]] = True
_KNOWN = np.zeros(256, np.bool_)
_KNOWN[[ord(tag) for tag in "BCORYMIUDT"]] = True


@dataclass(frozen=True)
class Decoded:
    """What a batch of messages said.

    Args:
        events: Changes and what else happened. Of each table they are in the order of the log, and a change
            of its shape stands before the first batch that has the new one.
        committed: Position behind the last transaction that is complete, None before the first.
        within_transaction: Whether the last transaction goes on in the next batch.
    """

    events: tuple[Event, ...]
    committed: int | None
    within_transaction: bool

    @property
    def changes(self) -> tuple[ChangeBatch, ...]:
        """The change batches alone."""
        return tuple(event for event in self.events if isinstance(event, ChangeBatch))


class Decoder:
    """Decodes one stream from its begin.

    A transaction may go over any number of batches. Memory is that of one batch and what it becomes.

    Args:
        types: The catalogue of types.
        after: Transactions that committed before this position are left out: they were read before.
        known: Shapes of tables as they were last seen; another one is reported as a `SchemaChange`.
    """

    def __init__(self, types: Catalogue, *, after: int = 0, known: Iterable[TableShape] = ()) -> None:
        self._catalogue = types
        self._types: dict[int, PgType] = {}
        self._named: dict[int, str] = {}
        self._transactions = Transactions(after)
        self._layouts: dict[int, Layout] = {}
        self._last = {shape.name: shape for shape in known}
        self._ids = {shape.relation_id: shape for shape in self._last.values()}

    @property
    def shapes(self) -> tuple[TableShape, ...]:
        """Every table that was seen or known, as it was last, by name."""
        return tuple(self._last[name] for name in sorted(self._last))

    def decode(self, lsns: npt.NDArray[np.int64], messages: pa.Array) -> Decoded:
        """Decode the next messages of the stream.

        Args:
            lsns: Position of each message, shape (n,).
            messages: Binary array of whole messages, shape (n,).

        Raises:
            ProtocolError: The bytes are not what the protocol promises.
            UnsupportedType: A table has a column that cannot be kept faithfully.
            UnreadableValue: A value is none of its column's type.
        """
        wire = Wire.of(messages)
        if len(lsns) != len(wire.starts):
            raise broken(f"{len(messages)} messages have {len(lsns)} positions")
        tags = wire.byte(wire.starts)
        if not _KNOWN[tags].all():
            unknown = chr(tags[~_KNOWN[tags]][0])
            raise broken(f"there is a message {unknown!r}, which was not asked for")
        placed = self._transactions.place(wire, tags)
        events: list[tuple[int, Event]] = []
        groups = _Groups(wire, tags, placed.wanted)
        for index in np.flatnonzero(_RARE[tags]).tolist():
            at = index, int(lsns[index]), bool(placed.wanted[index])
            self._rare(wire.message(index), *at, groups, events)
        for layout, rows in groups.parted(self._layouts):
            codes = _CODES[tags[rows]]
            meta = [operations(codes), pa.array(lsns[rows]), *placed.columns(rows)]
            arrays = [*meta, *row_columns(wire, layout, rows, codes)]
            data = pa.RecordBatch.from_arrays(arrays, schema=layout.schema)
            events.append((int(rows[0]), ChangeBatch(layout.shape, data)))
        ordered = tuple(event for _, event in sorted(events, key=lambda item: item[0]))
        return Decoded(ordered, placed.committed, placed.within_transaction)

    def _rare(
        self,
        message: bytes,
        index: int,
        lsn: int,
        wanted: bool,
        groups: "_Groups",
        events: list[tuple[int, Event]],
    ) -> None:
        match message[:1]:
            case b"Y":
                named = type_message(message)
                self._named[named.oid] = named.name
            case b"R":
                relation = relation_message(message)
                before = self._layouts.get(relation.relation_id)
                layout, change = self._relation(relation, lsn)
                if change is not None:
                    events.append((index, change))
                groups.relation(index, before, layout)
            case b"T":
                if wanted:
                    groups.truncate(index, truncate_message(message).relation_ids)
            case _:
                said = logical_message(message)
                if wanted or not said.transactional:
                    events.append((index, said))

    def _relation(self, said: RelationMessage, lsn: int) -> tuple[Layout, SchemaChange | None]:
        """The layout of a table from here on, and what changed about it."""
        missing = {oid for _, oid, _, _ in said.columns} - self._types.keys()
        if missing:
            self._types |= self._catalogue(missing)
        columns = tuple(
            ShapeColumn(name, self._type_name(oid), oid, modifier, identity)
            for name, oid, modifier, identity in said.columns
        )
        shape = TableShape(said.relation_id, said.schema_name, said.table, said.identity, columns)
        layout = Layout.of(shape, self._types)
        # A table that moved is known by its number, one that was made again by its name.
        before = self._ids.get(shape.relation_id) or self._last.get(shape.name)
        if before is not None and before.name != shape.name:
            self._last.pop(before.name, None)
        self._last[shape.name] = self._ids[shape.relation_id] = shape
        self._layouts[shape.relation_id] = layout
        changed = before is not None and not before.same_as(shape)
        return layout, SchemaChange(before, shape, lsn) if before is not None and changed else None

    def _type_name(self, oid: int) -> str:
        known = self._types.get(oid)
        return known.name if known else self._named.get(oid, f"type {oid}, which is gone")


class _Groups:
    """Which messages become one batch: those of one table between two changes of its shape."""

    def __init__(self, wire: Wire, tags: npt.NDArray[np.uint8], wanted: npt.NDArray[np.bool_]) -> None:
        codes = _CODES[tags]
        self._rows = np.flatnonzero((codes >= 0) & (codes != TRUNCATE) & wanted)
        starts = wire.starts[self._rows]
        if (wire.ends[self._rows] - starts < 6).any():
            raise broken("a change is cut off")
        self._relations = wire.uint32(starts + np.int32(1))
        self._truncated: dict[int, list[int]] = {}
        self._bounds: dict[int, list[tuple[int, Layout]]] = {}

    def relation(self, index: int, before: Layout | None, layout: Layout) -> None:
        """A table has this layout behind a message."""
        bounds = self._bounds.setdefault(layout.shape.relation_id, [])
        if before is not None and not bounds:
            bounds.append((-1, before))
        if not bounds or not bounds[-1][1].shape.same_as(layout.shape):
            bounds.append((index, layout))

    def truncate(self, index: int, relations: Sequence[int]) -> None:
        """Tables were emptied by a message."""
        for relation in relations:
            self._truncated.setdefault(relation, []).append(index)

    def parted(self, layouts: dict[int, Layout]) -> Iterable[tuple[Layout, npt.NDArray[np.intp]]]:
        """Layout and messages, ascending, of each batch.

        Raises:
            ProtocolError: A table was not announced before its first change.
        """
        one = len(self._relations) > 0 and bool((self._relations == self._relations[0]).all())
        found = self._relations[:1] if one else np.unique(self._relations)
        for relation in sorted({*found.tolist(), *self._truncated}):
            rows = self._rows if one else self._rows[self._relations == relation]
            if one and relation != found[0]:
                rows = rows[:0]
            if relation in self._truncated:
                rows = np.sort(np.concatenate([rows, np.array(self._truncated[relation], np.intp)]))
            current = layouts.get(relation)
            if current is None:
                raise broken(f"a change of table {relation} comes before the table is described")
            bounds = self._bounds.get(relation, [(-1, current)])
            cuts = np.searchsorted(rows, [index for index, _ in bounds])
            if cuts[0] != 0:
                raise broken(f"a change of table {relation} comes before the table is described")
            for (_, layout), part in zip(bounds, np.split(rows, cuts[1:]), strict=True):
                if len(part):
                    yield layout, part
