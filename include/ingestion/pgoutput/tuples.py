"""The values of many rows of one table, found by walking all rows at once, one column after the other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.pgoutput.errors import broken
from include.ingestion.pgoutput.wire import Ints, Wire

_NULL, _UNCHANGED, _TEXT = ord("n"), ord("u"), ord("t")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """Where the values of n rows are.

    Args:
        kinds: How each is given, per column an array of n bytes: `t`, `n` (NULL) or `u` (unchanged TOAST).
        starts: First byte of each text, per column; without meaning where there is none.
        ends: One behind its last byte.
        behind: Where each row ends, shape (n,).
    """

    kinds: tuple[npt.NDArray[np.uint8], ...]
    starts: tuple[Ints, ...]
    ends: tuple[Ints, ...]
    behind: Ints

    def unchanged(self, column: int) -> Mask:
        """Which rows leave the value of a column out because it did not change, shape (n,)."""
        return np.asarray(self.kinds[column] == _UNCHANGED)

    def absent(self, column: int) -> Mask:
        """Which rows give no text for a column, shape (n,)."""
        return np.asarray(self.kinds[column] != _TEXT)

    def texts(self, wire: Wire, column: int, into: "Places") -> pa.Array:
        """The texts of a column as a binary array of `into.count` rows, null where there is none.

        Texts of one column follow each other in the buffer, with something else between them. So the buffer
        itself is a binary array in which every second value is wanted, and Arrow's `take` copies those.
        """
        count = len(self.behind)
        if count == 0:
            return pa.nulls(into.count, pa.binary())
        offsets = np.empty(2 * count, np.int32)
        offsets[0::2], offsets[1::2] = self.starts[column], self.ends[column]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(wire.data)]
        spread = pa.Array.from_buffers(pa.binary(), 2 * count - 1, buffers)
        absent = self.absent(column)
        return pc.take(spread, into.indices(absent if absent.any() else None), boundscheck=False)


@dataclass(frozen=True)
class Places:
    """Which of `count` rows of a result the n rows of some cells are.

    Args:
        count: Rows of the result.
        rows: Their places, ascending, shape (n,); None where they are all.
    """

    count: int
    rows: npt.NDArray[np.intp] | None = None

    def indices(self, absent: Mask | None) -> pa.Array:
        """For each row of the result the place of its text among spread texts, null for none."""
        wanted = np.arange(0, 2 * (self.count if self.rows is None else len(self.rows)), 2, dtype=np.int32)
        if self.rows is None:
            return pa.array(wanted, mask=absent)
        values, missing = np.zeros(self.count, np.int32), np.ones(self.count, np.bool_)
        values[self.rows] = wanted
        missing[self.rows] = False if absent is None else absent
        return pa.array(values, mask=missing)

    def spread(self, mask: Mask) -> Mask:
        """A mask over the cells' rows as one over the result's, False elsewhere."""
        if self.rows is None:
            return mask
        result = np.zeros(self.count, np.bool_)
        result[self.rows] = mask
        return result


def walk(wire: Wire, at: Ints, limits: Ints, columns: int, table: str) -> Cells:
    """Find the values of n rows.

    Args:
        wire: The messages.
        at: Where the `TupleData` of each row begins, shape (n,).
        limits: Where the message of each ends, shape (n,).
        columns: How many columns the table has.
        table: For the error.

    Raises:
        ProtocolError: A row has another number of columns, or does not end within its message.
    """
    if (at + 2 > limits).any() or (wire.int16(at) != columns).any():
        raise broken(f"a row of {table} has not {columns} columns")
    kinds, starts, ends = [], [], []
    position = at + np.int32(2)
    for _ in range(columns):
        kind = wire.byte(position)
        given = kind == _TEXT
        if given.all():
            start = position + np.int32(5)
            length = wire.int32(start - np.int32(4))
        else:
            if not (given | (kind == _NULL) | (kind == _UNCHANGED)).all():
                raise broken(f"a row of {table} has a value of a kind other than text, NULL or unchanged")
            start = position + np.where(given, np.int32(5), np.int32(1))
            length = np.where(given, wire.int32(np.maximum(start - np.int32(4), 0)), np.int32(0))
        if ((length < 0) | (length > limits - start)).any():
            raise broken(f"a row of {table} does not end within its message")
        position = start + length
        kinds.append(kind)
        starts.append(start)
        ends.append(position)
    return Cells(tuple(kinds), tuple(starts), tuple(ends), position)
