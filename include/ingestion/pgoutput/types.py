"""How a column of a PostgreSQL type is read into Arrow.

Every type has a text form, so that every type can be kept; what has an Arrow type that all engines of the
lake read alike gets it. See docs/adr/0010-one-schema-of-a-change.md.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from include.ingestion.pgoutput.errors import UnsupportedType

How = Literal[
    "bool", "number", "decimal", "text", "bytea", "date", "timestamp", "timestamptz", "time", "list"
]
_MONEY, _NUMERIC, _BOX = 790, 1700, 603
# Spark, DuckDB and the lake's own declarations end here.
LARGEST_PRECISION = 38


@dataclass(frozen=True)
class PgType:
    """A row of the catalogue `pg_type`, as far as reading values needs it.

    Args:
        oid: Its number.
        name: Its name, with its schema unless that is `pg_catalog`.
        domain_of: Number of the type that a domain is over, else 0.
        domain_modifier: That type's modifier, -1 for none.
        element: Number of the element type of an array, else 0.
    """

    oid: int
    name: str
    domain_of: int = 0
    domain_modifier: int = -1
    element: int = 0


Catalogue = Callable[[Collection[int]], Mapping[int, PgType]]
"""Gives the types of these numbers and all they are made of; a type that is gone is left out."""


@dataclass(frozen=True)
class Reading:
    """How the text of a value becomes Arrow.

    Args:
        arrow: The Arrow type.
        how: Which conversion.
        element: For a list, how its elements are read.
    """

    arrow: pa.DataType
    how: How
    element: "Reading | None" = None


_TEXT = Reading(pa.string(), "text")
_PLAIN: Mapping[int, Reading] = {
    16: Reading(pa.bool_(), "bool"),
    17: Reading(pa.binary(), "bytea"),
    20: Reading(pa.int64(), "number"),
    21: Reading(pa.int16(), "number"),
    23: Reading(pa.int32(), "number"),
    26: Reading(pa.int64(), "number"),
    700: Reading(pa.float32(), "number"),
    701: Reading(pa.float64(), "number"),
    1082: Reading(pa.date32(), "date"),
    1083: Reading(pa.time64("us"), "time"),
    1114: Reading(pa.timestamp("us"), "timestamp"),
    1184: Reading(pa.timestamp("us", tz="UTC"), "timestamptz"),
}


def reading(oid: int, modifier: int, types: Mapping[int, PgType], table: str, column: str) -> Reading:
    """How a column is read.

    Args:
        oid: Number of its type.
        modifier: Its type's modifier.
        types: What the catalogue said; a type that is not in it is read as text.
        table: For the error.
        column: For the error.

    Raises:
        UnsupportedType: The type has no faithful form: money, whose text depends on the server's locale.
    """
    if oid == _MONEY:
        raise UnsupportedType(
            f"Column {column!r} of {table} has the type money, whose values depend on the server's locale.",
            remedy="Accepted: numeric(p,s), or any other type; or leave the column out of the publication "
            "(ALTER PUBLICATION ... SET TABLE ... (columns)).",
            table=table,
            column=column,
        )
    if oid == _NUMERIC:
        return _decimal(modifier)
    if oid in _PLAIN:
        return _PLAIN[oid]
    kind = types.get(oid)
    if kind is None:
        return _TEXT
    if kind.domain_of:
        return reading(kind.domain_of, kind.domain_modifier, types, table, column)
    if kind.element:
        element = reading(kind.element, modifier, types, table, column)
        # The elements of an array of boxes are parted by semicolons: its text is kept as it is.
        if kind.element == _BOX or element.how == "list":
            return _TEXT
        return Reading(pa.list_(element.arrow), "list", element)
    return _TEXT


def _decimal(modifier: int) -> Reading:
    """A numeric with precision and scale is a decimal as far as every engine has one, else its exact text.

    The modifier is 4 plus precision in the upper 16 bits and scale, signed, in the lower 11 bits.
    """
    if modifier < 4:
        return _TEXT
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
    digits = precision - min(scale, 0) if scale <= precision else scale
    if digits > LARGEST_PRECISION:
        return _TEXT
    return Reading(pa.decimal128(digits, max(scale, 0)), "decimal")
