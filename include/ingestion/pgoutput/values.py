"""Text of values to Arrow, a column at a time.

PostgreSQL has values that an Arrow type, or an engine that reads it, has not: NaN in a numeric(p,s), infinite
dates, years before 1 and after 9999, the hour 24:00, arrays of more dimensions. They are never bent into NULL
or into a number that looks like a value: the column holds NULL there and the text is given beside it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.pgoutput.lists import split_lists
from include.ingestion.pgoutput.types import Reading

_BYTEA = r"^\\x([0-9a-f][0-9a-f])*$"
_NO_OFFSETS, _NO_BYTES = np.zeros(1, np.int32), np.zeros(0, np.uint8)
_HEX = np.zeros(256, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)

# What Arrow reads; the forms are those of DateStyle ISO and TimeZone UTC, which the connector sets.
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_DAY = r"\d{4}-\d\d-\d\d"
_ORDINARY = {
    "decimal": r"^-?\d+(\.\d+)?$",
    "date": f"^{_DAY}$",
    "timestamp": f"^{_DAY} {_CLOCK}$",
    "timestamptz": f"^{_DAY} {_CLOCK}[+]00$",
    "time": f"^{_CLOCK}$",
}
# What else PostgreSQL prints for these types; anything beyond it is no value of the type.
_YEARS = r"\d{4,6}-\d\d-\d\d"
_SPECIAL = {
    "decimal": r"^(NaN|-?Infinity)$",
    "date": f"^(-?infinity|{_YEARS}( BC)?)$",
    "timestamp": f"^(-?infinity|{_YEARS} {_CLOCK}( BC)?)$",
    "timestamptz": f"^(-?infinity|{_YEARS} {_CLOCK}[+]00( BC)?)$",
    "time": r"^24:00:00$",
}


class BadText(Exception):
    """A text is not one of its type; the caller knows table and column."""


@dataclass(frozen=True)
class Values:
    """A column.

    Args:
        array: Its values, null where there is none and where there is a special one.
        special: Places of values that the Arrow type cannot hold, ascending.
        texts: Their texts.
    """

    array: pa.Array
    special: npt.NDArray[np.intp]
    texts: pa.Array


def read_values(texts: pa.Array, reading: Reading) -> Values:
    """A column of texts as Arrow values.

    Args:
        texts: Binary array, null for NULL.
        reading: How the column is read.

    Raises:
        BadText: A text is none of that type, or not UTF-8.
    """
    try:
        return _READ[reading.how](texts, reading)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise BadText(str(error).splitlines()[0]) from error


def _plain(array: pa.Array) -> Values:
    return Values(array, np.zeros(0, np.intp), pa.array([], pa.string()))


def _all(mask: pa.Array) -> bool:
    """Whether all are true, nulls apart; so it is of none."""
    return bool(pc.all(mask, min_count=0).as_py())


def _text(texts: pa.Array, _reading: Reading) -> Values:
    return _plain(texts.cast(pa.string()))


def _number(texts: pa.Array, reading: Reading) -> Values:
    return _plain(texts.cast(pa.string()).cast(reading.arrow))


def _bool(texts: pa.Array, _reading: Reading) -> Values:
    true = pc.equal(texts, pa.scalar(b"t", pa.binary()))
    if not _all(pc.or_(true, pc.equal(texts, pa.scalar(b"f", pa.binary())))):
        raise BadText("neither t nor f")
    return _plain(true)


def _bytea(texts: pa.Array, _reading: Reading) -> Values:
    r"""Hexadecimal digits behind `\x`."""
    strings = texts.cast(pa.string())
    if not _all(pc.match_substring_regex(strings, _BYTEA)):
        raise BadText("a bytea that is not in hexadecimal form; bytea_output must be hex")
    content = texts.take(pc.indices_nonzero(pc.is_valid(texts)))
    starts = (
        np.frombuffer(content.buffers()[1], np.int32)[: len(content) + 1] if len(content) else _NO_OFFSETS
    )
    flat = np.frombuffer(content.buffers()[2], np.uint8)[: starts[-1]] if len(content) else _NO_BYTES
    digit = np.ones(len(flat), np.bool_)
    digit[starts[:-1]] = digit[starts[:-1] + 1] = False
    nibbles = _HEX[flat[digit]]
    lengths = np.zeros(len(texts), np.int32)
    valid = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    lengths[valid] = (np.diff(starts) - 2) // 2
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    validity = pa.array(valid).buffers()[1] if len(texts) else None
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(nibbles[0::2] << 4 | nibbles[1::2])]
    return _plain(pa.Array.from_buffers(pa.binary(), len(texts), buffers))


def _ordinary(texts: pa.Array, reading: Reading) -> Values:
    """Arrow's own cast; only where that fails the special values are looked for."""
    strings = texts.cast(pa.string())
    try:
        return _plain(_cast(strings, reading))
    except pa.ArrowInvalid:
        special = pc.match_substring_regex(strings, _SPECIAL[reading.how])
        ordinary = pc.match_substring_regex(strings, _ORDINARY[reading.how])
        special = pc.and_not(special, ordinary)
        places = np.flatnonzero(pc.fill_null(special, False).to_numpy(zero_copy_only=False))
        if not len(places):
            raise
        kept = pc.if_else(special, pa.scalar(None, pa.string()), strings)
        return Values(_cast(kept, reading), places, strings.take(pa.array(places)))


def _cast(strings: pa.Array, reading: Reading) -> pa.Array:
    if reading.how != "time":
        return strings.cast(reading.arrow)
    # Arrow reads moments, not times of day.
    moments = pc.binary_join_element_wise("1970-01-01", strings, " ").cast(pa.timestamp("us"))
    return moments.cast(reading.arrow)


def _list(texts: pa.Array, reading: Reading) -> Values:
    """One-dimensional arrays; one that is not, or holds a special element, is special as a whole."""
    assert reading.element is not None
    strings = texts.cast(pa.string())
    split = split_lists(strings)
    elements = read_values(split.elements.cast(pa.binary()), reading.element)
    special = split.special.copy()
    special[np.searchsorted(split.offsets, elements.special, side="right") - 1] = True
    missing = special | pc.is_null(strings).to_numpy(zero_copy_only=False)
    array = pa.ListArray.from_arrays(
        pa.array(split.offsets), elements.array, type=reading.arrow, mask=pa.array(missing)
    )
    places = np.flatnonzero(special)
    return Values(array, places, strings.take(pa.array(places)))


_READ = {
    "bool": _bool,
    "number": _number,
    "decimal": _ordinary,
    "text": _text,
    "bytea": _bytea,
    "date": _ordinary,
    "timestamp": _ordinary,
    "timestamptz": _ordinary,
    "time": _ordinary,
    "list": _list,
}
