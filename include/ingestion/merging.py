"""Rows that were read in any order and some of them twice, and those of the last snapshot, as one table.

What comes out is in the order of the key, one row for each, and cut the same way whatever it was made of: the
files of a snapshot follow from its rows alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion import contracts
from include.ingestion.snapshot import PART_ROWS
from include.ingestion.spans import Span
from include.spec.source import Table

if TYPE_CHECKING:
    import duckdb

# A part of a snapshot is a whole number of these.
BATCH_ROWS = PART_ROWS // 20
_MEMORY = "512MB"
# Names are quoted, and everything else is a parameter.
_ROW, _AGE = "file_row_number", "_headrace_age"


class Merge:
    """The rows of one table, out of files.

    Args:
        connection: To DuckDB.
        table: The declaration.
        fresh: The Parquet file of what was read, in order of arrival.
        base: The files of the last snapshot.
        replaced: Of the base, rows in this span are left out: they were read anew, all of them. None: none.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        table: Table,
        fresh: Path,
        base: Sequence[Path] = (),
        replaced: Span | None = None,
    ) -> None:
        self._connection, self._table, self._base = connection, table, list(base)
        self._fresh, self._replaced = fresh, replaced

    def untouched(self) -> int:
        """How many files of the base, from the first on, hold only keys before any that was read."""
        if not self._table.key or self._replaced is not None or not self._base:
            return 0
        name = self._table.key[0]
        lowest = self._extreme(self._fresh, name, "min")
        if lowest is None:
            return len(self._base)
        touched = 0
        # The last file has room for more rows, so it is never one that stays.
        for path in self._base[:-1]:
            highest = self._extreme(path, name, "max")
            if highest is None or highest >= lowest:
                break
            touched += 1
        return touched

    def batches(self, skipped: int = 0) -> Iterator[pa.RecordBatch]:
        """All rows in the order of the key, without those of the first files of the base.

        Args:
            skipped: How many files; at most what `untouched` says.
        """
        schema = contracts.arrow_schema(self._table)
        names = ", ".join(_quoted(name) for name in schema.names)
        order = ", ".join(_quoted(name) for name in self._table.key or schema.names)
        base, parameters = self._base_rows([str(path) for path in self._base[skipped:]])
        rows = f"SELECT {names}, {_ROW}, {_AGE} FROM ({base} UNION ALL BY NAME {_read(1)})"  # noqa: S608
        if self._table.key:
            rank = f"row_number() OVER (PARTITION BY {order} ORDER BY {self._latest()})"
            rows = f"SELECT * FROM ({rows}) QUALIFY {rank} = 1"  # noqa: S608
        query = f"SELECT {names} FROM ({rows}) ORDER BY {order}"  # noqa: S608
        found = self._connection.sql(query, params=[*parameters, str(self._fresh)])
        batches: Any = found.to_arrow_reader(BATCH_ROWS)
        with closing(batches):
            yield from _cut(batch.cast(schema) for batch in batches)

    def highest(self, column: str) -> Any:
        """The highest value of a column among what was read; None without rows."""
        return self._extreme(self._fresh, column, "max")

    def _base_rows(self, files: list[str]) -> tuple[str, list[Any]]:
        if not files:
            return f"{_read(0)} WHERE false", [str(self._fresh)]
        incremental = self._table.read.incremental
        if self._replaced is None or incremental is None:
            return _read(0), [files]
        cursor, kept, bounds = _quoted(incremental.cursor), [], []
        if self._replaced.since is not None:
            kept.append(f"{cursor} < ?")
            bounds.append(self._replaced.since)
        if self._replaced.until is not None:
            kept.append(f"{cursor} >= ?")
            bounds.append(self._replaced.until)
        return f"{_read(0)} WHERE {' OR '.join(kept) or 'false'}", [files, *bounds]

    def _latest(self) -> str:
        """Of one key, the row of the highest cursor; of these the one that was read last."""
        incremental = self._table.read.incremental
        cursor = f"{_quoted(incremental.cursor)} DESC, " if incremental else ""
        return f"{cursor}{_AGE} DESC, {_ROW} DESC"

    def _extreme(self, path: Path, column: str, function: str) -> Any:
        query = f"SELECT {function}({_quoted(column)}) FROM read_parquet(?)"  # noqa: S608
        # To its end: a result that is not is in the way of the next query.
        ((found,),) = self._connection.execute(query, [str(path)]).fetchall()
        return found


@contextmanager
def merging(scratch: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A DuckDB that holds little in memory, and what it cannot in a folder.

    Args:
        scratch: The folder.
    """
    import duckdb

    with duckdb.connect(
        config={"memory_limit": _MEMORY, "threads": 2, "temp_directory": str(scratch)}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def write_fresh(table: Table, batches: Iterator[pa.RecordBatch], path: Path) -> int:
    """Write rows as they arrive; how many there were."""
    schema, rows = contracts.arrow_schema(table), 0
    with pq.ParquetWriter(path, schema, compression="lz4", coerce_timestamps="us") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of one size, the last one apart."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        while rows >= BATCH_ROWS:
            whole = pa.Table.from_batches(held).combine_chunks()
            yield whole.slice(0, BATCH_ROWS).combine_chunks().to_batches()[0]
            rest = whole.slice(BATCH_ROWS)
            held, rows = rest.to_batches(), rest.num_rows
    if rows:
        yield pa.Table.from_batches(held).combine_chunks().to_batches()[0]


def _read(age: int) -> str:
    return f"SELECT *, {age} AS {_AGE} FROM read_parquet(?, file_row_number = true)"  # noqa: S608


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
