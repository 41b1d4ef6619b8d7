"""Rows of Arrow batches into a table of PostgreSQL, as fast as it takes them."""

from collections.abc import Callable, Iterable

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import sql

_OPTIONS = pa_csv.WriteOptions(include_header=False)


def copy_rows(
    connection: psycopg.Connection,
    table: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    progress: Callable[[str, int], None] | None = None,
) -> int:
    """Copy batches into a table, in the open transaction; say how many rows went in.

    Args:
        connection: Where the table is.
        table: Its name.
        schema: Of the batches; its names are those of the table's columns.
        batches: The rows.
        progress: Told the table and how many more rows went in.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, schema.names))
    )
    rows = 0
    with connection.cursor().copy(statement) as copy:
        for batch in batches:
            buffer = pa.BufferOutputStream()
            pa_csv.write_csv(batch, buffer, _OPTIONS)
            copy.write(memoryview(buffer.getvalue()))
            rows += batch.num_rows
            if progress is not None:
                progress(table, batch.num_rows)
    return rows
