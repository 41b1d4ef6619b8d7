"""Rows of one table: from places in the wire to the columns of a change batch."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.pgoutput.changes import (
    DELETE,
    INSERT,
    TRUNCATE,
    UPDATE,
    Layout,
    special_column,
    unchanged_column,
)
from include.ingestion.pgoutput.errors import UnreadableValue, broken
from include.ingestion.pgoutput.shape import TableShape
from include.ingestion.pgoutput.tuples import Cells, Places, walk
from include.ingestion.pgoutput.types import Reading
from include.ingestion.pgoutput.values import BadText, read_values
from include.ingestion.pgoutput.wire import Ints, Wire

_KEY, _OLD, _NEW = ord("K"), ord("O"), ord("N")
# Tag, number of the table, and which tuple follows.
_MARKER_AT, _TUPLE_AT = np.int32(5), np.int32(6)


@dataclass
class Notes:
    """What the columns of a batch cannot say themselves: unchanged and special values, by row."""

    unchanged_rows: list[npt.NDArray[np.intp]] = field(default_factory=list)
    unchanged_names: list[pa.Array] = field(default_factory=list)
    special_rows: list[npt.NDArray[np.intp]] = field(default_factory=list)
    special_paths: list[pa.Array] = field(default_factory=list)
    special_texts: list[pa.Array] = field(default_factory=list)

    def unchanged(self, rows: npt.NDArray[np.intp], name: str) -> None:
        """Note that these rows leave a column out."""
        self.unchanged_rows.append(rows)
        self.unchanged_names.append(pa.repeat(pa.scalar(name), len(rows)))

    def special(self, rows: npt.NDArray[np.intp], path: str, texts: pa.Array) -> None:
        """Note the texts of values that a column cannot hold."""
        self.special_rows.append(rows)
        self.special_paths.append(pa.repeat(pa.scalar(path), len(rows)))
        self.special_texts.append(texts)

    def columns(self, count: int) -> list[pa.Array]:
        """The columns `unchanged` and `special` of a batch of that many rows."""
        none, nothing = np.zeros(0, np.intp), pa.array([], pa.string())
        names = pa.concat_arrays([nothing, *self.unchanged_names])
        paths = pa.concat_arrays([nothing, *self.special_paths])
        texts = pa.concat_arrays([nothing, *self.special_texts])
        return [
            unchanged_column(count, np.concatenate([none, *self.unchanged_rows]), names),
            special_column(count, np.concatenate([none, *self.special_rows]), paths, texts),
        ]


@dataclass(frozen=True)
class _Tuples:
    """The old or the new tuples of a batch."""

    cells: Cells
    places: Places
    given: npt.NDArray[np.bool_]


def row_columns(
    wire: Wire, layout: Layout, messages: npt.NDArray[np.intp], codes: npt.NDArray[np.int8]
) -> list[pa.Array]:
    """The columns `old`, `row`, `unchanged` and `special` of a batch, those that the layout has.

    Args:
        wire: The messages.
        layout: Of the table.
        messages: Which messages are the batch's rows, ascending, shape (n,).
        codes: Their operations, shape (n,).

    Raises:
        ProtocolError: A message is not as documented.
        UnreadableValue: A value is none of its column's type.
    """
    shape, count = layout.shape, len(messages)
    old, new = _locate(wire, shape, messages, codes)
    notes = Notes()
    olds: list[pa.Array] = []
    news: list[pa.Array] = []
    for number, (column, how) in enumerate(zip(shape.columns, layout.readings, strict=True)):
        old_texts = old.cells.texts(wire, number, old.places) if column.identity else None
        new_texts = new.cells.texts(wire, number, new.places)
        unchanged = new.places.spread(new.cells.unchanged(number))
        if unchanged.any():
            if old_texts is not None and shape.identity == "full":
                # The old row holds the value in full, and it did not change.
                new_texts = pc.if_else(pa.array(unchanged & old.given), old_texts, new_texts)
                unchanged &= ~old.given
            notes.unchanged(np.flatnonzero(unchanged), column.name)
        for texts, side, into in ((old_texts, "old", olds), (new_texts, "row", news)):
            if texts is not None:
                into.append(converted(texts, how, shape, column.name, notes, side))
    sides = {"old": (olds, old.given), "row": (news, new.given)}
    structs = [
        _struct(layout.schema.field(name), *sides[name]) for name in layout.schema.names if name in sides
    ]
    return [*structs, *notes.columns(count)]


def _struct(field_: pa.Field, arrays: list[pa.Array], given: npt.NDArray[np.bool_]) -> pa.Array:
    mask = None if given.all() else pa.array(~given)
    return pa.StructArray.from_arrays(arrays, fields=list(field_.type), mask=mask)


def converted(
    texts: pa.Array, how: Reading, shape: TableShape, column: str, notes: Notes, side: str
) -> pa.Array:
    """The values of a column; special ones are noted.

    Args:
        texts: Binary array.
        how: How they are read.
        shape: Table, for the error.
        column: Its name.
        notes: Where special values go.
        side: `row` or `old`.

    Raises:
        UnreadableValue: A value is none of the column's type.
    """
    try:
        values = read_values(texts, how)
    except BadText as error:
        raise UnreadableValue(
            f"Column {column!r} of {shape.name} holds a value that is no {how.arrow}: {error}.",
            remedy="The slot keeps it: see the value in the source, and read again. Nothing was published.",
            table=shape.name,
            column=column,
        ) from error
    if len(values.special):
        notes.special(values.special, f"{side}.{column}", values.texts)
    return values.array


def _locate(
    wire: Wire, shape: TableShape, messages: npt.NDArray[np.intp], codes: npt.NDArray[np.int8]
) -> tuple[_Tuples, _Tuples]:
    """Find the values of the old and the new rows of inserts, updates and deletes."""
    starts, ends = wire.starts[messages], wire.ends[messages]
    with_tuples = codes != TRUNCATE
    if (with_tuples & (ends - starts <= _TUPLE_AT)).any():
        raise broken(f"a row of {shape.name} is cut off")
    markers = wire.byte(starts + _MARKER_AT)
    with_old = with_tuples & ((markers == _KEY) | (markers == _OLD))
    with_new = with_tuples & (codes != DELETE)
    expected = np.where(codes == INSERT, markers == _NEW, (codes == UPDATE) | with_old | ~with_tuples)
    if not expected.all() or (with_new & ~with_old & (markers != _NEW)).any():
        raise broken(f"a change of {shape.name} has an unknown kind of row")
    positions = starts + _TUPLE_AT
    old = _walked(wire, shape, positions, ends, with_old)
    both = with_old & with_new
    if both.any():
        behind = old.cells.behind[both[with_old]]
        if (behind >= ends[both]).any() or (wire.byte(behind) != _NEW).any():
            raise broken(f"an update of {shape.name} has no new row")
        positions[both] = behind + np.int32(1)
    new = _walked(wire, shape, positions, ends, with_new)
    only_old = old.cells.behind[~both[with_old]]
    if (new.cells.behind != ends[with_new]).any() or (only_old != ends[with_old & ~both]).any():
        raise broken(f"a row of {shape.name} ends before its message")
    return old, new


def _walked(
    wire: Wire, shape: TableShape, positions: Ints, ends: Ints, given: npt.NDArray[np.bool_]
) -> _Tuples:
    every = bool(given.all())
    cells = walk(wire, positions[given], ends[given], len(shape.columns), shape.name)
    return _Tuples(cells, Places(len(given), None if every else np.flatnonzero(given)), given)
