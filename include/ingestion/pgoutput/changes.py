"""The one Arrow schema of a change, whatever brought it (docs/adr/0010-one-schema-of-a-change.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ingestion.pgoutput.shape import TableShape
from include.ingestion.pgoutput.types import PgType, Reading, reading

OPERATIONS = ("insert", "update", "delete", "truncate", "read")
INSERT, UPDATE, DELETE, TRUNCATE, READ = range(len(OPERATIONS))
_OPERATION = pa.dictionary(pa.int8(), pa.string())
_NAMES = pa.array(OPERATIONS, pa.string())
_UNCHANGED = pa.list_(pa.field("element", pa.string(), nullable=False))
_SPECIAL = pa.map_(pa.string(), pa.field("value", pa.string(), nullable=False))

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """A shape with all that reading its rows needs.

    Args:
        shape: The table.
        readings: How each column is read, in order.
        schema: Of its change batches.
    """

    shape: TableShape
    readings: tuple[Reading, ...]
    schema: pa.Schema

    @classmethod
    def of(cls, shape: TableShape, types: Mapping[int, PgType]) -> "Layout":
        """The layout of a shape.

        Args:
            shape: The table.
            types: Of its columns and all they are made of.

        Raises:
            UnsupportedType: A column cannot be kept faithfully.
        """
        readings = tuple(
            reading(column.type_oid, column.modifier, types, shape.name, column.name)
            for column in shape.columns
        )
        return cls(shape, readings, change_schema(shape, readings))


@dataclass(frozen=True)
class ChangeBatch:
    """Changes of one table in the order of their commits, all of one shape.

    Args:
        shape: The table as it was when they were made.
        data: The changes; `change_schema` says what the columns are.
    """

    shape: TableShape
    data: pa.RecordBatch


@dataclass(frozen=True)
class SchemaChange:
    """A table whose shape is not what it was; changes behind it have another Arrow schema.

    The stream does not say what was done. A column that was renamed looks like one that was dropped and
    another that was added: `renamed` lists those that kept their place and type, as a hint.

    Args:
        before: The shape until here.
        after: The shape from here on.
        lsn: Where in the log.
    """

    before: TableShape
    after: TableShape
    lsn: int

    @property
    def added(self) -> tuple[str, ...]:
        """Columns that were not there before."""
        return _lacking(self.after, self.before)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that are there no more."""
        return _lacking(self.before, self.after)

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a dropped and an added column of the same type at the same place, if no other moved."""
        before, after = self.before.columns, self.after.columns
        if len(before) != len(after):
            return ()
        pairs = [(b, a) for b, a in zip(before, after, strict=True) if b.name != a.name]
        gone, new = {b.name for b, _ in pairs}, {a.name for _, a in pairs}
        alike = all((b.type, b.modifier) == (a.type, a.modifier) for b, a in pairs)
        return tuple((b.name, a.name) for b, a in pairs) if alike and not gone & new else ()

    @property
    def retyped(self) -> tuple[str, ...]:
        """Columns of the same name with another type or modifier."""
        types = {column.name: (column.type, column.modifier) for column in self.before.columns}
        return tuple(
            column.name
            for column in self.after.columns
            if column.name in types and types[column.name] != (column.type, column.modifier)
        )

    @property
    def identity_changed(self) -> bool:
        """Whether the source tells old rows by other columns than before."""
        return _identity(self.before) != _identity(self.after)

    @property
    def recreated(self) -> bool:
        """Whether it is another table of the same name; the rows of the former are gone without deletes."""
        return self.before.relation_id != self.after.relation_id

    @property
    def moved(self) -> bool:
        """Whether it is the same table under another name or in another schema."""
        return self.before.name != self.after.name


def change_schema(shape: TableShape, readings: Sequence[Reading]) -> pa.Schema:
    """The Arrow schema of a table's changes.

    `operation`, `lsn`, `commit_lsn`, `sequence`, `transaction_id` and `committed_at` say what, where and
    when; `row` is the new row, `old` the identity of the old one where it is given, `unchanged` names the
    columns of `row` whose value the source left out because it did not change, and `special` gives the text
    of values that their Arrow type cannot hold, by `row.<column>` or `old.<column>`.

    Args:
        shape: The table.
        readings: How each of its columns is read.
    """
    fields = [
        pa.field(column.name, how.arrow, metadata={"postgresql:type": column.type})
        for column, how in zip(shape.columns, readings, strict=True)
    ]
    identity = [field for column, field in zip(shape.columns, fields, strict=True) if column.identity]
    # Parquet has no struct without fields: tables without identity, or without columns, have none.
    rows = [pa.field("old", pa.struct(identity))] if identity else []
    rows += [pa.field("row", pa.struct(fields))] if fields else []
    return pa.schema(
        [
            pa.field("operation", _OPERATION, nullable=False),
            pa.field("lsn", pa.int64(), nullable=False),
            pa.field("commit_lsn", pa.int64(), nullable=False),
            pa.field("sequence", pa.int64()),
            pa.field("transaction_id", pa.int64()),
            pa.field("committed_at", pa.timestamp("us", tz="UTC")),
            *rows,
            pa.field("unchanged", _UNCHANGED, nullable=False),
            pa.field("special", _SPECIAL, nullable=False),
        ],
        metadata={"postgresql:table": shape.name},
    )


def operations(codes: npt.NDArray[np.int8]) -> pa.Array:
    """The column `operation` from places in `OPERATIONS`."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), _NAMES)


def unchanged_column(count: int, rows: npt.NDArray[np.intp], names: pa.Array) -> pa.Array:
    """The column `unchanged`.

    Args:
        count: Rows of the batch.
        rows: Row of each name, in any order.
        names: Names of columns.
    """
    offsets, order = _grouped(count, rows)
    return pa.ListArray.from_arrays(pa.array(offsets), names.take(order), type=_UNCHANGED)


def special_column(count: int, rows: npt.NDArray[np.intp], paths: pa.Array, texts: pa.Array) -> pa.Array:
    """The column `special`; arguments as for `unchanged_column`, and each value's text."""
    offsets, order = _grouped(count, rows)
    return pa.MapArray.from_arrays(pa.array(offsets), paths.take(order), texts.take(order), type=_SPECIAL)


def _grouped(count: int, rows: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int32], pa.Array]:
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
    return offsets, pa.array(np.argsort(rows, kind="stable"))


def _lacking(one: TableShape, other: TableShape) -> tuple[str, ...]:
    names = {column.name for column in other.columns}
    return tuple(column.name for column in one.columns if column.name not in names)


def _identity(shape: TableShape) -> tuple[object, ...]:
    return (shape.identity, [column.name for column in shape.columns if column.identity])
