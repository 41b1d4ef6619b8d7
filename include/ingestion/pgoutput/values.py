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

_NOT_HEX = 255
_HEX = np.full(256, _NOT_HEX, np.uint8)
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


def _text(texts: pa.Array, _reading: Reading) -> Values:
    return _plain(texts.cast(pa.string()))


def _number(texts: pa.Array, reading: Reading) -> Values:
    return _plain(texts.cast(pa.string()).cast(reading.arrow))


def _bool(texts: pa.Array, _reading: Reading) -> Values:
    true = pc.equal(texts, pa.scalar(b"t", pa.binary()))
    if not pc.all(pc.or_(true, pc.equal(texts, pa.scalar(b"f", pa.binary())))).as_py():
        raise BadText("neither t nor f")
    return _plain(true)


def _bytea(texts: pa.Array, _reading: Reading) -> Values:
    r"""Hexadecimal digits behind `\x`."""
    lengths = pc.fill_null(pc.binary_length(texts), 2).to_numpy(zero_copy_only=False)
    digits = pc.binary_slice(texts, 2)
    prefixes = pc.all(pc.starts_with(texts.cast(pa.string()), "\\x")).as_py()
    if not prefixes or (lengths % 2).any():
        raise BadText("a bytea that is not in hexadecimal form; bytea_output must be hex")
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum((lengths - 2) // 2, out=offsets[1:])
    flat = np.frombuffer(digits.buffers()[2] or b"", np.uint8)
    begin = int(np.frombuffer(digits.buffers()[1], np.int32)[digits.offset]) if len(digits) else 0
    nibbles = _HEX[flat[begin : begin + 2 * int(offsets[-1])]]
    if (nibbles == _NOT_HEX).any():
        raise BadText("a bytea that is not in hexadecimal form")
    content = nibbles[0::2] << 4 | nibbles[1::2]
    valid = pa.array(np.ones(len(texts), np.bool_)) if texts.null_count == 0 else pc.is_valid(texts)
    buffers = [valid.buffers()[1], pa.py_buffer(offsets), pa.py_buffer(content)]
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
