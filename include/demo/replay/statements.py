"""Rows as SQL: a transaction is text, so that hundreds of them go to the server in one message."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

NULL = "NULL"


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one commit of the operational system changes.

    Args:
        at_us: When it commits: microseconds of UTC since 1970.
        statements: SQL, without the frame of the transaction.
        rows: How many rows it changes.
    """

    at_us: int
    statements: str
    rows: int


def literals(values: pa.Array) -> pa.Array:
    """Each value as an SQL literal, for a session with `standard_conforming_strings`."""
    kind = values.type
    text = values.cast(pa.string())
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        text = pc.binary_join_element_wise("'", pc.replace_substring(text, "'", "''"), "'", "")
    return pc.fill_null(text, NULL)


def tuples(batch: pa.RecordBatch) -> list[str]:
    """Each row as `(value, value, ...)`, in the order of the columns."""
    columns = [literals(column) for column in batch.columns]
    joined = pc.binary_join_element_wise(*columns, ",")
    rows: list[str] = pc.binary_join_element_wise("(", joined, ")", "").to_pylist()
    return rows


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def insertion(table: str, columns: Sequence[str]) -> str:
    """The beginning of an INSERT, up to its rows."""
    return f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, columns))}) VALUES "  # noqa: S608 - quoted names


def insert(table: str, columns: Sequence[str], rows: Sequence[str]) -> str:
    """An INSERT of rows that `tuples` gave."""
    return insertion(table, columns) + ",".join(rows)


def assignments(columns: Sequence[str], values: Sequence[str], between: str = ", ") -> str:
    """`"column" = value`, joined; a condition where `between` is AND."""
    return between.join(f"{quoted(column)} = {value}" for column, value in zip(columns, values, strict=True))


def update(
    table: str,
    columns: Sequence[str],
    values: Sequence[str],
    key: Sequence[str],
    key_values: Sequence[str],
) -> str:
    """An UPDATE of the row of a key; the values are literals."""
    changed, where = assignments(columns, values), assignments(key, key_values, " AND ")
    return f"UPDATE {quoted(table)} SET {changed} WHERE {where}"  # noqa: S608 - literals and quoted names


def delete(table: str, key: Sequence[str], key_values: Sequence[str]) -> str:
    """A DELETE of the rows of a key; the values are literals."""
    where = assignments(key, key_values, " AND ")
    return f"DELETE FROM {quoted(table)} WHERE {where}"  # noqa: S608 - literals and quoted names
