"""Values of a column whose type changed, in its new type: exactly, or as text beside it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType


def exactly(value: "Column", was: "DataType", kind: "DataType") -> "tuple[Column, Column | None]":
    """A value in another type where that says the same and can be turned back, else NULL and its text.

    What the source made of old values when it changed the type is not in its log; so nothing is rounded here.

    Returns:
        The value, and the text where the value is lost; None where none can be.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql import types as kinds

    if was == kind:
        return value, None
    text = _text(value, was)
    if isinstance(kind, kinds.StringType):
        return text, None
    numbers = (kinds.NumericType, kinds.BooleanType)
    if isinstance(was, numbers) and isinstance(kind, numbers):
        cast, back = value.try_cast(kind), value.try_cast(kind).try_cast(was)
    elif (
        isinstance(was, kinds.AtomicType)
        and isinstance(kind, kinds.AtomicType)
        and not isinstance(kind, kinds.BinaryType)
    ):
        cast = text.try_cast(kind)
        back = _text(cast, kind) if isinstance(was, kinds.StringType) else _text(cast, kind).try_cast(was)
    else:
        return sf.lit(None).cast(kind), text
    same = back.eqNullSafe(value)
    return sf.when(same, cast), sf.when(~same, text)


def _text(value: "Column", kind: "DataType") -> "Column":
    from pyspark.sql import functions as sf
    from pyspark.sql import types as kinds

    if isinstance(kind, kinds.BinaryType):
        return sf.concat(sf.lit("\\x"), sf.lower(sf.hex(value)))
    if isinstance(kind, kinds.AtomicType):
        return value.cast("string")
    return sf.to_json(sf.struct(value.alias("value")))
