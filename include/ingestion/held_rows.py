"""The rows of a table as the lake holds them, published and apart, in the order in which they were read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion import contracts
from include.ingestion.row_text import batch_of
from include.ingestion.weave import last_place, woven
from include.spec.source import Table

BATCH_ROWS = 65_536


def held_rows(
    table: Table, published: Sequence[Path], apart: Sequence[Path], shown: str
) -> Iterator[pa.RecordBatch]:
    """The rows of one origin once more, as a connector would give them.

    What went apart knows its place, and what was published fills the places between: so every row stands
    where it stood when it was read. Holds a batch of the one, and all of the other.

    Args:
        table: The declaration as it is now.
        published: The origin's files of the snapshot, in order.
        apart: Its files of the quarantine.
        shown: The origin, for errors.

    Raises:
        ContractError: The declared columns are others by now: only the source has them.
    """
    schema = contracts.arrow_schema(table)
    places, texts = _apart(apart)
    first = 0
    for batch in _published(table, schema, published, shown):
        last = last_place(first, batch.num_rows, places)
        within = last - first - batch.num_rows
        others = batch_of(texts[:within], schema)
        yield woven(batch, first, places[:within], others) if within else batch
        places, texts = places[within:], texts[within:]
        first = last
    for start in range(0, len(texts), BATCH_ROWS):
        yield batch_of(texts[start : start + BATCH_ROWS], schema)


def _apart(files: Sequence[Path]) -> tuple[list[int], list[str]]:
    if not files:
        return [], []
    rows = pa.concat_tables(pq.read_table(file, columns=["row_number", "row"]) for file in files)
    rows = rows.sort_by("row_number")
    return rows.column("row_number").to_pylist(), rows.column("row").to_pylist()


def _published(
    table: Table, schema: pa.Schema, files: Sequence[Path], shown: str
) -> Iterator[pa.RecordBatch]:
    for file in files:
        with pq.ParquetFile(file) as reader:
            there = set(reader.schema_arrow.names)
            missing = [field for field in schema if field.name not in there]
            if any(not field.nullable for field in missing):
                raise contracts.violated(
                    shown,
                    f"the lake never read column {', '.join(repr(field.name) for field in missing)}",
                    accepted="a nullable column, or an ingestion of the source, which reads it",
                    table=table.name,
                )
            wanted = [name for name in schema.names if name in there]
            for batch in reader.iter_batches(BATCH_ROWS, columns=wanted):
                for field in missing:
                    batch = batch.append_column(field, pa.nulls(batch.num_rows, field.type))
                yield contracts.conform(table, schema, batch, shown)
