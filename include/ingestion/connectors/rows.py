"""Rows that come one by one, as Python values of JSON, of a workbook or of a driver, as Arrow batches."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from include.ingestion import contracts
from include.ingestion.row_text import row_text, with_misfits
from include.spec.source import Column, Table

BATCH_ROWS = 16_384
_WIDE = Context(prec=80)
_INTEGER_BITS = {"int16": 16, "int32": 32, "int64": 64}

Convert = Callable[[Any], Any]


class Unfit(ValueError):
    """A value is not of its column's type."""


def batches(
    table: Table, rows: Iterable[tuple[str, Mapping[str, Any]]], *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Rows as declared, without a value lost; a column that a row does not have is NULL there.

    Args:
        table: The declaration.
        rows: Of each row where it is, for errors, and its values by column; others are left behind.
        batch_rows: Rows of a batch at most.

    Raises:
        ContractError: A value is missing where it must not be, or is of another type; a table that puts
            rows apart has such a row named in the column `_misfit`.
    """
    schema = contracts.arrow_schema(table)
    columns = [(column, converter(column)) for column in table.columns]
    held: list[list[Any]] = [[] for _ in columns]
    lenient = table.on_violation == "quarantine"
    misfits: dict[int, tuple[str, str]] = {}
    texts: dict[int, str] = {}
    for where, row in rows:
        for (column, convert), values in zip(columns, held, strict=True):
            if lenient and row.get(column.name) is None:
                values.append(None)
                continue
            try:
                values.append(_value(table, column, convert, where, row.get(column.name)))
            except contracts.ContractError as error:
                if not lenient:
                    raise
                misfits.setdefault(len(values), (f"type({column.name})", error.message))
                texts[len(values)] = row_text({one.name: row.get(one.name) for one in table.columns})
                values.append(None)
        if len(held[0]) >= batch_rows:
            yield with_misfits(_batch(schema, held), misfits, texts)
            held = [[] for _ in columns]
            misfits, texts = {}, {}
    if held[0]:
        yield with_misfits(_batch(schema, held), misfits, texts)


def check_fields(table: Table, names: Iterable[str], where: str) -> None:
    """Refuse fields that are not declared, where the table refuses them; missing ones are NULL.

    Raises:
        ContractError: There is one.
    """
    if table.undeclared_columns == "ignore":
        return
    declared = {column.name for column in table.columns}
    extra = sorted(str(name) for name in names if name not in declared)
    if extra:
        raise contracts.violated(
            where,
            f"column {', '.join(map(repr, extra[:5]))} is not declared",
            accepted=f"{', '.join(sorted(declared))}, or undeclared_columns='ignore' in the declaration",
            table=table.name,
        )


def converter(column: Column) -> Convert:
    """What makes a value of the column's type of a Python value; it raises `Unfit`."""
    if column.decimal is not None:
        return _decimal_of(*column.decimal)
    if column.type in _INTEGER_BITS:
        return _integer_of(_INTEGER_BITS[column.type])
    return _OF_TYPE[column.type]


def _value(table: Table, column: Column, convert: Convert, where: str, value: Any) -> Any:
    if value is None:
        if not column.nullable:
            raise contracts.violated(
                where,
                f"column {column.name!r} has no value",
                accepted="a value in every row, or nullable=True",
                table=table.name,
                column=column.name,
            )
        return None
    try:
        return convert(value)
    except (ValueError, OverflowError, InvalidOperation) as error:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        reason = str(error) if isinstance(error, Unfit) else "it does not fit"
        raise contracts.violated(
            where,
            f"column {column.name!r} holds {shown}: {reason}",
            accepted=column.type,
            table=table.name,
            column=column.name,
        ) from error


def _batch(schema: pa.Schema, held: list[list[Any]]) -> pa.RecordBatch:
    arrays = [pa.array(values, field.type) for field, values in zip(schema, held, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("it is not true or false")
    return value


def _integer_of(bits: int) -> Convert:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def integer(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise Unfit("it is not a number")
        if not math.isfinite(value) or value != int(value):
            raise Unfit("it is not a whole number")
        if not least <= value <= most:
            raise Unfit(f"it is not within {least} to {most}")
        return int(value)

    return integer


def _decimal_of(precision: int, scale: int) -> Convert:
    step = Decimal(1).scaleb(-scale)

    def decimal(value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            raise Unfit("it is not a number")
        # A workbook keeps 15 digits of a number; what lies beyond is how the machine writes it.
        exact = Decimal(format(value, ".15g") if isinstance(value, float) else value)
        if not exact.is_finite() or (exact != 0 and exact.adjusted() >= precision - scale):
            raise Unfit("it has too many digits")
        if exact != 0 and exact != exact.quantize(step, context=_WIDE):
            raise Unfit(f"it has more than {scale} digits after the point")
        return exact

    return decimal


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit("it is not a number")
    return float(value)


def _string(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if not isinstance(value, str):
        raise Unfit("it is not a text")
    value.encode()  # a lone surrogate is no text
    return value


def _binary(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise Unfit("it is not binary")


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        if value.time() != time():
            raise Unfit("it has a time of day")
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str) and len(value) == len("2026-01-31"):
        return date.fromisoformat(value)
    raise Unfit("it is not a date, as in 2026-01-31")


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if not isinstance(value, str) or len(value) < len("2026-01-31"):
        raise Unfit("it is not a time, as in 2026-01-31T12:00:00")
    fraction = value.partition(".")[2].rstrip("Z").split("+")[0].split("-")[0]
    if len(fraction.rstrip("0")) > len("123456"):
        raise Unfit("it is finer than a microsecond")
    return datetime.fromisoformat(value)


def _timestamp(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise Unfit("it has a time zone, the column has none")
    return moment


def _timestamptz(value: Any) -> datetime:
    moment = _moment(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_OF_TYPE: Mapping[str, Convert] = {
    "bool": _bool,
    "float32": _float,
    "float64": _float,
    "string": _string,
    "binary": _binary,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
}
