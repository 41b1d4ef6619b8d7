"""CSV, JSON Lines, Parquet and Excel: the rows of one stream as declared, in its own order."""

import csv
import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from include.ingestion import contracts
from include.ingestion.connectors import csv_rows, rows
from include.ingestion.connectors.expanded import TooLarge, allowed_bytes, seekable
from include.spec.reads import Files
from include.spec.source import Table

BLOCK_SIZE_BYTES = 8 * 2**20
BATCH_ROWS = 131_072
# A header of 16,384 columns with names of 60 letters; beyond that a file has no header line.
LONGEST_HEADER_BYTES = 2**20
LONGEST_LINE_BYTES = 64 * 2**20
_CSV_COLUMN = re.compile(r"In CSV column #(\d+): ")
_BOM = b"\xef\xbb\xbf"

DESCRIBED: Mapping[str, str] = {
    "csv": "CSV with a header line",
    "jsonl": "JSON Lines: an object on each line",
    "parquet": "Parquet",
    "excel": "an Excel workbook (.xlsx) with a header in its first row",
}


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def read_csv(
    table: Table, url: str, stream: IO[bytes], again: Callable[[], IO[bytes]]
) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV stream; of a table that puts rows apart, from a bad value on row by row.

    Args:
        table: The declaration.
        url: Of the file, for errors.
        stream: Its bytes.
        again: Gives them once more, from the beginning.

    Raises:
        ContractError: Of a value or a column that is not as declared.
    """
    buffered, names = _csv_header(stream)
    contracts.check_names(table, names, url)
    if not buffered.peek(1):
        return
    taken = 0
    try:
        for batch in _typed_csv(table, url, buffered, names):
            yield batch
            taken += batch.num_rows
    except pa.ArrowInvalid as error:
        if table.on_violation == "refuse":
            raise _csv_violation(table, url, names, error) from error
    else:
        return
    buffered, names = _csv_header(again())
    yield from csv_rows.read_rows(table, buffered, names, skip=taken, block_size_bytes=BLOCK_SIZE_BYTES)


def _csv_header(stream: IO[bytes]) -> tuple[io.BufferedReader, list[str]]:
    """The stream behind its first line, and the names on that line."""
    buffered = io.BufferedReader(_raw(stream), BLOCK_SIZE_BYTES)
    header = buffered.readline(LONGEST_HEADER_BYTES)
    if len(header) == LONGEST_HEADER_BYTES:
        raise pa.ArrowInvalid(f"its first line is longer than {LONGEST_HEADER_BYTES:,} bytes")
    return buffered, next(csv.reader([header.decode("utf-8-sig")]), [])


def _typed_csv(
    table: Table, url: str, buffered: io.BufferedReader, names: list[str]
) -> Iterator[pa.RecordBatch]:
    schema = contracts.arrow_schema(table)
    # Without threads the error of a bad value carries its row; the files themselves are read in parallel.
    options = pa_csv.ReadOptions(block_size=BLOCK_SIZE_BYTES, use_threads=False, column_names=names)
    convert = pa_csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    reader = pa_csv.open_csv(pa.PythonFile(buffered, mode="r"), read_options=options, convert_options=convert)
    decimals = [field.name for field in schema if pa.types.is_decimal(field.type)]
    for batch in reader:
        for name in decimals:
            if name in names:
                _check_digits(batch, names.index(name))
        yield contracts.conform(table, schema, batch, url)


def _check_digits(batch: pa.RecordBatch, number: int) -> None:
    """Arrow reads more digits than a decimal has room for; say so as it says of other values."""
    try:
        batch.column(number).validate(full=True)
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"In CSV column #{number}: {first_line(error)}") from error


def _raw(stream: IO[bytes]) -> Any:
    """A stream that a buffer of ours can be put around: those of object stores are no `RawIOBase`."""
    return stream if isinstance(stream, io.BufferedIOBase) else pa.PythonFile(stream, mode="r")


def _csv_violation(
    table: Table, url: str, names: list[str], error: pa.ArrowInvalid
) -> contracts.ContractError:
    """Arrow numbers the columns; people name them."""
    said = first_line(error)
    matched = _CSV_COLUMN.search(said)
    name = names[int(matched[1])] if matched else ""
    if matched is None or name not in {column.name for column in table.columns}:
        return contracts.violated(
            url, f"cannot be read: {said}", accepted="CSV with a header line", table=table.name
        )
    what = f"column {name!r}: {said.replace(matched[0], '')}"
    return contracts.violated(url, what, accepted=table.column(name).type, table=table.name, column=name)


def read_parquet(table: Table, url: str, stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet stream.

    Raises:
        ContractError: Of a value or a column that is not as declared.
    """
    schema = contracts.arrow_schema(table)
    with seekable(stream) as file:
        reader = pq.ParquetFile(pa.PythonFile(file, mode="r"))
        contracts.check_names(table, reader.schema_arrow.names, url)
        actual = {field.name: _plain(field.type) for field in reader.schema_arrow}
        accepted = {field.name: (_plain(field.type),) for field in schema}
        contracts.check_types(table, actual, accepted, url)
        for batch in reader.iter_batches(BATCH_ROWS, columns=schema.names):
            batch.validate(full=True)  # a text that is not UTF-8 would break who reads it next
            yield contracts.conform(table, schema, batch, url)


def _plain(kind: pa.DataType) -> str:
    """A type apart from how it is stored: dictionary, large string and unit of time are no difference."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind):
        kind = pa.string()
    if pa.types.is_timestamp(kind):
        return "timestamp with time zone" if kind.tz else "timestamp"
    return str(kind)


def read_jsonl(
    table: Table, url: str, stream: IO[bytes], again: Callable[[], IO[bytes]]
) -> Iterator[pa.RecordBatch]:
    """The rows of a stream of JSON objects; one that is nested in a text column is kept as its JSON.

    Arrow reads what is flat. From what it does not take on, Python reads line by line, which knows objects
    within objects and can say which line is wrong.

    Args:
        table: The declaration.
        url: Of the file, for errors.
        stream: Its bytes.
        again: Gives them once more, from the beginning.

    Raises:
        ContractError: Of a value or a column that is not as declared.
    """
    taken = 0
    try:
        for batch in _arrow_jsonl(table, url, stream):
            yield batch
            taken += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, contracts.ContractError):
        lines = itertools.islice(_json_rows(table, url, again()), taken, None)
        yield from rows.batches(table, lines)


def _arrow_jsonl(table: Table, url: str, stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    schema = contracts.arrow_schema(table)
    # Arrow reads no dates from JSON; their text is cast strictly.
    asked = [field.with_type(pa.string()) if pa.types.is_date(field.type) else field for field in schema]
    buffered = io.BufferedReader(_raw(stream), BLOCK_SIZE_BYTES)
    if not buffered.peek(1):
        return
    reader = pa_json.open_json(
        pa.PythonFile(buffered, mode="r"),
        read_options=pa_json.ReadOptions(use_threads=False, block_size=BLOCK_SIZE_BYTES),
        parse_options=pa_json.ParseOptions(
            explicit_schema=pa.schema([field.with_nullable(True) for field in asked]),
            unexpected_field_behavior="ignore" if table.undeclared_columns == "ignore" else "error",
        ),
    )
    for batch in reader:
        batch.validate(full=True)
        yield contracts.conform(table, schema, _dated(schema, batch), url)


def _dated(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        pc.cast(batch.column(field.name), field.type)
        if pa.types.is_date(field.type)
        else batch.column(field.name)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, names=schema.names)


def _json_rows(table: Table, url: str, stream: IO[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    buffered = io.BufferedReader(_raw(stream), BLOCK_SIZE_BYTES)
    for number in itertools.count(1):
        line = buffered.readline(LONGEST_LINE_BYTES)
        where = f"{url}, line {number}"
        if not line:
            return
        if len(line) == LONGEST_LINE_BYTES:
            raise contracts.violated(
                where, "is too long", accepted=f"{LONGEST_LINE_BYTES:,} bytes", table=table.name
            )
        text = line.removeprefix(_BOM) if number == 1 else line
        if text.strip():
            row = _json_object(table, where, text)
            rows.check_fields(table, row, where)
            yield where, row


def _json_object(table: Table, where: str, text: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(text.decode(), parse_float=Decimal, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        what = f"cannot be read: {first_line(error)}"
        raise contracts.violated(where, what, accepted=DESCRIBED["jsonl"], table=table.name) from error
    if not isinstance(row, dict):
        what = f"holds {type(row).__name__}, not an object"
        raise contracts.violated(where, what, accepted=DESCRIBED["jsonl"], table=table.name)
    return row


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice in one object")
    return found


def read_excel(table: Table, url: str, stream: IO[bytes], stored_bytes: int) -> Iterator[pa.RecordBatch]:
    """The rows of a sheet; a row without any value is left out.

    Raises:
        ContractError: Of a value or a column that is not as declared, or the sheet is not there.
    """
    from openpyxl import load_workbook

    assert isinstance(table.read, Files)
    with seekable(stream) as file:
        with zipfile.ZipFile(file) as archive:
            expanded = sum(member.file_size for member in archive.infolist())
        if expanded > allowed_bytes(stored_bytes):
            raise TooLarge(f"it expands to {expanded / 2**20:,.0f} MiB, which its size is no reason for")
        file.seek(0)
        workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        try:
            name = table.read.sheet or workbook.sheetnames[0]
            if name not in workbook.sheetnames:
                accepted = ", ".join(map(repr, workbook.sheetnames))
                raise contracts.violated(url, f"has no sheet {name!r}", accepted=accepted, table=table.name)
            yield from rows.batches(table, _excel_rows(table, url, workbook[name]))
        finally:
            workbook.close()


def _excel_rows(table: Table, url: str, sheet: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # What a workbook says about its own extent may be wrong, and rows would be left out.
    sheet.reset_dimensions()
    found = sheet.iter_rows(values_only=True)
    header = [None if cell is None else str(cell).strip() for cell in next(found, ())]
    while header and header[-1] is None:
        header.pop()
    names = [name if name is not None else f"column {place}" for place, name in enumerate(header, 1)]
    contracts.check_names(table, names, f"{url}, sheet {sheet.title!r}")
    for number, cells in enumerate(found, 2):
        if any(cell is not None for cell in cells):
            yield f"{url}, sheet {sheet.title!r}, row {number}", dict(zip(names, cells, strict=False))
