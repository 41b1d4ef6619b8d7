"""Files of a current state from those of its history: a filter, for which no engine need be asked."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Rows of a row group: with the rows alone, this decides the bytes of a file.
GROUP_ROWS = 2**18


def current_files(history: Mapping[int, Path], columns: Sequence[str], output: Path) -> dict[int, Path]:
    """The versions that have not ended, in their order, bucket by bucket.

    Args:
        history: Its files by bucket.
        columns: Of the current state.
        output: An empty folder.

    Returns:
        Files by bucket; one without rows has none, except the first, which tells the columns.
    """

    def written(item: tuple[int, Path]) -> tuple[int, Path, int]:
        bucket, path = item
        to = output / f"{bucket}.parquet"
        return bucket, to, _write_current(path, columns, to)

    with ThreadPoolExecutor() as threads:
        return {
            bucket: path for bucket, path, rows in threads.map(written, history.items()) if rows or not bucket
        }


def write_empty(like: Path, to: Path) -> None:
    """A file without rows, with the columns of another one."""
    import pyarrow.parquet as pq

    pq.write_table(pq.read_schema(like).empty_table(), to, compression="zstd")


def _write_current(history: Path, columns: Sequence[str], to: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetFile(history) as file:
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
        with pq.ParquetWriter(to, schema, compression="zstd", store_decimal_as_integer=True) as writer:
            for part in _groups(_still(file, columns), schema):
                writer.write_table(part, row_group_size=GROUP_ROWS)
                rows += part.num_rows
    return rows


def _still(file: "pq.ParquetFile", columns: Sequence[str]) -> Iterator["pa.RecordBatch"]:
    """The versions that have not ended."""
    # All columns are read: pyarrow would take a name with a dot for a path.
    for batch in file.iter_batches():
        yield batch.filter(batch.column("_to_lsn").is_null()).select(list(columns))


def _groups(batches: Iterator["pa.RecordBatch"], schema: "pa.Schema") -> Iterator["pa.Table"]:
    """The same rows in tables of that many; the last has what is left."""
    import pyarrow as pa

    held = schema.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch.cast(schema)])])
        while held.num_rows >= GROUP_ROWS:
            yield held.slice(0, GROUP_ROWS)
            held = held.slice(GROUP_ROWS)
    if held.num_rows:
        yield held
