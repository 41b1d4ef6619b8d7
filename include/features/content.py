"""The identity of a set of rows: a hash over what they say, not over the bytes that a writer made of it."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

ID_LENGTH = 16


def content_hash(rows: "pa.Table", names: Mapping[str, Any]) -> str:
    """SHA-256 over a table's columns and values, in their order, and over what else names the set.

    Compression, row groups and the library's version do not count; a value, a type or the order does.

    Args:
        rows: The rows, in canonical order. Accepted are integers, floats, booleans, strings and times.
        names: What belongs to the identity besides the rows.
    """
    digest = hashlib.sha256(json.dumps(names, sort_keys=True, separators=(",", ":")).encode())
    digest.update(f"\n{rows.num_rows}\n".encode())
    for field in rows.schema:
        digest.update(f"{field.name} {field.type}\n".encode())
        column = rows.column(field.name)
        digest.update(column.is_null().to_numpy().tobytes())
        _update(digest, column)
    return digest.hexdigest()


def _update(digest: Any, column: "pa.ChunkedArray") -> None:
    """Add the values, what is missing as zero: where it is missing was told before."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.int64() if pa.types.is_timestamp(column.type) else pa.int32())
    if pa.types.is_string(column.type):
        texts = pc.fill_null(column, "")
        # Lengths tell where one text ends: their concatenation alone would not.
        digest.update(pc.binary_length(texts).to_numpy().tobytes())
        digest.update("".join(texts.to_pylist()).encode())
    else:
        digest.update(pc.fill_null(column, pa.scalar(0).cast(column.type)).to_numpy().tobytes())
