"""CSV once more, as text: where the fast typed reading met a bad value, each row is judged by itself.

The same parser splits the lines, and the same casts make the values, so that a good row is the same row on
both paths; only what is wrong is named in the column `_misfit`.
"""

import json
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv

from include.ingestion import contracts
from include.ingestion.row_text import LINE, decoded, fit_column, row_texts, with_misfits
from include.ingestion.weave import last_place, woven
from include.spec.source import Table


def read_rows(
    table: Table, stream: IO[bytes], names: Sequence[str], *, skip: int, block_size_bytes: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV stream in the declared columns, misfits named.

    Args:
        table: The declaration.
        stream: Behind the header line.
        names: Of the columns there.
        skip: Rows from the beginning that were read already.
        block_size_bytes: Read at once.

    Raises:
        pyarrow.ArrowInvalid: It is no CSV at all.
    """
    broken: list[tuple[int, str, str]] = []

    def note(row: pa_csv.InvalidRow) -> str:
        reason = f"there are {row.actual_columns} fields, not {row.expected_columns}"
        broken.append((row.number, reason, row.text))
        return "skip"

    reader = pa_csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pa_csv.ReadOptions(
            block_size=block_size_bytes, use_threads=False, column_names=list(names)
        ),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    schema = contracts.arrow_schema(table)
    first = 0
    for raw in reader:
        batch = _typed(schema, raw)
        # The parser is a block ahead: lines that it has told of may belong behind this batch.
        last = last_place(first, batch.num_rows, [number for number, _reason, _line in broken])
        within = last - first - batch.num_rows
        here = broken[:within]
        del broken[:within]
        if here:
            batch = woven(batch, first, [number for number, _reason, _line in here], _lines(schema, here))
        yield batch.slice(max(skip - first, 0))
        first = last
    if broken:
        yield _lines(schema, broken).slice(max(skip - first, 0))


def _typed(schema: pa.Schema, raw: pa.RecordBatch) -> pa.RecordBatch:
    misfits: dict[int, tuple[str, str]] = {}
    texts = []
    for name, values in zip(raw.schema.names, raw.columns, strict=True):
        is_binary = name in schema.names and pa.types.is_binary(schema.field(name).type)
        texts.append(values if is_binary else decoded(values, name, misfits)[0])
    plain = pa.RecordBatch.from_arrays(texts, names=raw.schema.names)
    columns = [fit_column(plain.column(field.name), field, misfits) for field in schema]
    strange = sorted(misfits)
    shown = dict(zip(strange, row_texts(plain.take(pa.array(strange, pa.int64()))), strict=True))
    return with_misfits(pa.RecordBatch.from_arrays(columns, schema=schema), misfits, shown)


def _lines(schema: pa.Schema, broken: Sequence[tuple[int, str, str]]) -> pa.RecordBatch:
    empty = pa.RecordBatch.from_arrays([pa.nulls(len(broken), field.type) for field in schema], schema=schema)
    misfits = {index: ("columns", reason) for index, (_number, reason, _line) in enumerate(broken)}
    texts = [json.dumps({LINE: line}, ensure_ascii=False) for _number, _reason, line in broken]
    return with_misfits(empty, misfits, texts)
