"""The rules of a contract, asked of whole columns at once."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from include.spec.contract import Matches, OneOf, Range, References

Known = Mapping[tuple[str, str], pa.Array]
"""Values that are there, by table and column."""

Breaches = Mapping[str, tuple[pa.BooleanArray, str]]
"""By the name of what is broken: where, and the reason."""


def breaches(
    fields: Iterable[pa.Field],
    rules: Iterable[Range | OneOf | Matches | References],
    batch: pa.RecordBatch,
    known: Known,
) -> Breaches:
    """What rows of a batch break; nothing for what every row keeps.

    Args:
        fields: Columns as they are declared, which say where a value must be.
        rules: Of these columns.
        batch: Has the columns.
        known: What `References` are held to.
    """
    masks: dict[str, tuple[pa.BooleanArray, str]] = {}
    for field in fields:
        values = batch.column(field.name)
        if values.null_count and not field.nullable:
            masks[f"not_null({field.name})"] = (values.is_null(), f"{field.name} has no value")
    for rule in rules:
        mask = broken(rule, batch.column(rule.column), known)
        if mask.true_count:
            masks[rule.name] = (mask, f"{rule.column} must be {rule.accepted}")
    return masks


def broken(rule: Range | OneOf | Matches | References, values: pa.Array, known: Known) -> pa.BooleanArray:
    """Where a column breaks a rule; a value that is not there breaks none.

    Args:
        rule: Which.
        values: The column, in its declared type.
        known: What `References` are held to.
    """
    if isinstance(rule, Range):
        kept = _within(rule, values)
    elif isinstance(rule, OneOf):
        kept = pc.is_in(values, value_set=pa.array(rule.values, values.type))
    elif isinstance(rule, Matches):
        kept = pc.match_substring_regex(values, rf"\A(?:{rule.pattern})\z")
    else:
        kept = pc.is_in(values, value_set=known[rule.target])
    return pc.and_(pc.invert(pc.fill_null(kept, True)), pc.is_valid(values))


def _within(rule: Range, values: pa.Array) -> pa.BooleanArray:
    """NaN lies within no bounds."""
    kept = pc.is_valid(values)
    if rule.minimum is not None:
        kept = pc.and_(kept, pc.greater_equal(values, _bound(rule.minimum, values.type)))
    if rule.maximum is not None:
        kept = pc.and_(kept, pc.less_equal(values, _bound(rule.maximum, values.type)))
    return kept


def _bound(bound: object, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_decimal(kind) and isinstance(bound, int):
        return pa.scalar(Decimal(bound))
    # An integer beyond the column's type is a bound, too.
    return (
        pa.scalar(bound) if pa.types.is_integer(kind) or pa.types.is_decimal(kind) else pa.scalar(bound, kind)
    )
