"""Rows of an initial snapshot in the schema of changes: what a table held before its first change."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from include.ingestion.pgoutput.changes import READ, ChangeBatch, Layout, operations
from include.ingestion.pgoutput.rows import Notes, converted

# Conversions that a database driver makes itself, exactly as the text forms would come out.
NATIVE = frozenset(["bool", "number", "bytea"])


def read_batch(layout: Layout, columns: Mapping[str, pa.Array], lsn: int) -> ChangeBatch:
    """Rows that were there at a position, as changes with the operation `read`.

    They are in no order and of no transaction: `sequence`, `transaction_id` and `committed_at` are NULL.

    Args:
        layout: Of the table.
        columns: Each column by name: values for `NATIVE` readings, texts for all others.
        lsn: The position that the snapshot was taken at.

    Raises:
        UnreadableValue: A value is none of its column's type.
    """
    notes, arrays = Notes(), []
    for column, how in zip(layout.shape.columns, layout.readings, strict=True):
        given = columns[column.name]
        if how.how in NATIVE:
            arrays.append(given.cast(how.arrow))
        else:
            arrays.append(converted(given.cast(pa.binary()), how, layout.shape, column.name, notes, "row"))
    count = len(next(iter(columns.values()))) if columns else 0
    positions = pa.array(np.full(count, lsn, np.int64))
    by_name = {
        "operation": operations(np.full(count, READ, np.int8)),
        "lsn": positions,
        "commit_lsn": positions,
    }
    if arrays:
        by_name["row"] = pa.StructArray.from_arrays(arrays, fields=[*layout.schema.field("row").type])
    by_name["unchanged"], by_name["special"] = notes.columns(count)
    data = [by_name.get(field.name) for field in layout.schema]
    filled = [
        pa.nulls(count, field.type) if array is None else array
        for array, field in zip(data, layout.schema, strict=True)
    ]
    return ChangeBatch(layout.shape, pa.RecordBatch.from_arrays(filled, schema=layout.schema))
