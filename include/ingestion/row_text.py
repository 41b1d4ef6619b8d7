"""Rows as JSON text and back: how a row rests in quarantine, whatever was wrong with it.

Numbers and booleans are JSON's own; everything else is text in the form that CSV has it, bytes as hex digits.
The text of a row always gives the same row, and that row the same text: decisions about a row go by it.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Beside the declared columns of a batch, where some of its rows do not fit them.
MISFIT = "_misfit"
MISFIT_TYPE = pa.struct([("rule", pa.string()), ("reason", pa.string()), ("row", pa.string())])
# Key of a row that has no columns, such as a line of a CSV file with too many fields.
LINE = "_line"
_SHOWN = 60


def row_texts(batch: pa.RecordBatch) -> list[str]:
    """Each row of a batch as a JSON object, its columns in the batch's order."""
    return [row_text(row) for row in batch.to_pylist()]


def row_text(row: Mapping[str, Any]) -> str:
    """One row as a JSON object, its columns in the order of the mapping."""
    return _JSON.encode({name: _finite(value) for name, value in row.items()})


def batch_of(texts: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of such texts in a schema; those that do not fit it are named in the column `_misfit`."""
    rows = [json.loads(text) for text in texts]
    misfits: dict[int, tuple[str, str]] = {}
    for index, row in enumerate(rows):
        missing = _missing(row, schema)
        if missing:
            misfits[index] = ("columns", f"there is no column {', '.join(map(repr, missing))}")
            rows[index] = {}
    columns = []
    for field in schema:
        plain = pa.array([_plain(row.get(field.name)) for row in rows], pa.string())
        columns.append(fit_column(plain, field, misfits))
    return with_misfits(pa.RecordBatch.from_arrays(columns, schema=schema), misfits, texts)


def fit_column(values: pa.Array, field: pa.Field, misfits: dict[int, tuple[str, str]]) -> pa.Array:
    """A column in its declared type, NULL where a value does not fit it; such rows are added to the misfits.

    Args:
        values: In the type that arrived.
        field: As declared.
        misfits: Rule and reason by row; the first of a row stays.

    Raises:
        pyarrow.ArrowNotImplementedError: No value of the one type is one of the other.
    """
    if values.type == field.type:
        return values
    fitted, strange = _fitted(_trimmed(values, field.type), field.type)
    for index in strange:
        value = values[index].as_py()
        shown = value if len(str(value)) <= _SHOWN else f"{str(value)[:_SHOWN]}..."
        misfits.setdefault(index, (f"type({field.name})", f"{field.name} is {shown!r}, no {field.type}"))
    return fitted


def with_misfits(
    batch: pa.RecordBatch, misfits: Mapping[int, tuple[str, str]], texts: Sequence[str] | Mapping[int, str]
) -> pa.RecordBatch:
    """The batch with the column `_misfit` where it has any.

    Args:
        batch: In the declared columns.
        misfits: Rule and reason by row.
        texts: The row as it arrived, by row.
    """
    if not misfits:
        return batch
    told = [
        {"rule": misfits[index][0], "reason": misfits[index][1], "row": texts[index]}
        if index in misfits
        else None
        for index in range(batch.num_rows)
    ]
    return batch.append_column(MISFIT, pa.array(told, MISFIT_TYPE))


def decoded(values: pa.Array, name: str, misfits: dict[int, tuple[str, str]]) -> tuple[pa.Array, list[int]]:
    """Bytes as text; where they are no UTF-8, the row is a misfit, and they are shown escaped."""
    fitted, strange = _fitted(values, pa.string())
    if not strange:
        return fitted, strange
    shown = fitted.to_pylist()
    for index in strange:
        shown[index] = values[index].as_py().decode(errors="backslashreplace")
        misfits.setdefault(index, ("encoding", f"{name} is no UTF-8: {shown[index][:_SHOWN]!r}"))
    return pa.array(shown, pa.string()), strange


def _fitted(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Cast, halving what fails until each value that does not fit stands alone."""
    try:
        return _cast(values, kind), []
    except (pa.ArrowInvalid, UnicodeDecodeError):
        if len(values) == 1:
            return pa.nulls(1, kind), [0]
    half = len(values) // 2
    left, strange = _fitted(values.slice(0, half), kind)
    right, more = _fitted(values.slice(half), kind)
    return pa.concat_arrays([left, right]), [*strange, *(half + index for index in more)]


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_binary(kind) and pa.types.is_string(values.type):
        # Bytes rest as hex digits in the text of a row.
        plain = [None if value is None else _bytes(value) for value in values.to_pylist()]
        return pa.array(plain, pa.binary())
    return pc.cast(values, kind, safe=True)


def _missing(row: Any, schema: pa.Schema) -> list[str]:
    """Columns that a row does not have; one that may be empty need not be there."""
    if not isinstance(row, dict) or LINE in row:
        return list(schema.names)
    return [field.name for field in schema if field.name not in row and not field.nullable]


def _bytes(text: str) -> bytes:
    try:
        return base64.b16decode(text.upper())
    except ValueError as error:
        raise pa.ArrowInvalid(f"{text!r} is no sequence of hex digits") from error


def _trimmed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """As Arrow's CSV reader does it, so that a value means the same on both paths."""
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return pc.ascii_trim(values, " \t") if numeric and pa.types.is_string(values.type) else values


def _finite(value: Any) -> Any:
    """The value, as text where it is NaN or infinite, which JSON cannot say."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b16encode(value).decode().lower()
    return str(value)


_JSON = json.JSONEncoder(ensure_ascii=False, default=_text)


def _plain(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
