"""What a captured table's shape means for its declaration: it fits, it is put aside, or the capture stops."""

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from include.ingestion import contracts
from include.ingestion.connectors.postgres_publication import nothing_to_tell_by
from include.ingestion.connectors.postgres_slot import Feed
from include.ingestion.pgoutput import SchemaChange, TableShape
from include.spec.capture import OnSchemaChange
from include.spec.source import Column, Table

_INTEGERS = (pa.int16(), pa.int32(), pa.int64())


@dataclass(frozen=True)
class Misfit:
    """Why changes are put aside.

    Args:
        reason: What does not fit.
        lsn: Where the first of them stands in the log.
    """

    reason: str
    lsn: str


def rule_on(
    policy: OnSchemaChange,
    table: Table,
    feed: Feed,
    before: TableShape | None,
    shape: TableShape,
    schema: pa.Schema,
    lsn: str = "",
) -> Misfit | None:
    """What becomes of the changes of a table from here on, now that it has another shape.

    Args:
        policy: Of the capture.
        table: The declaration.
        feed: Names the database.
        before: The last shape that fitted; None for the first.
        shape: The shape from here on.
        schema: Of its changes.
        lsn: Where in the log.

    Returns:
        None where they go on; else why they are put aside.

    Raises:
        PublicationError: Its updates and deletes tell no row any more.
        ContractError: It does not fit, and the policy, or the kind of change, is to stop.
    """
    if shape.identity == "nothing":
        raise nothing_to_tell_by(feed, shape.name)
    misfits = _misfits(table, shape, schema, _renamed(before, shape))
    if not misfits or (policy == "evolve" and all(survives for _, survives in misfits)):
        return None
    told = "; ".join(what for what, _ in misfits)
    reason = f"{_altered(before, shape)}, and does not fit its declaration: {told}"
    if policy == "quarantine" and before is not None:
        return Misfit(reason, lsn)
    raise contracts.violated(
        f"database {feed.name}, table {shape.name}{', at ' + lsn if lsn else ''}",
        reason,
        accepted=_accepted(policy),
        table=table.name,
        on_schema_change=policy,
    )


def _misfits(
    table: Table, shape: TableShape, schema: pa.Schema, renamed: Collection[str]
) -> list[tuple[str, bool]]:
    """What does not fit, and whether readers of the declared columns survive it."""
    row = schema.field("row").type if "row" in schema.names else pa.struct([])
    arrived = {field.name: field.type for field in row}
    found: list[tuple[str, bool]] = []
    for column in table.columns:
        declared = contracts.arrow_type(column)
        actual = arrived.get(column.name)
        if actual is None:
            # Of a column that has another name now, the values would be lost without anybody being told.
            survives = column.nullable and column.name not in renamed
            found.append((f"column {column.name!r} is missing", survives))
        elif actual != declared:
            said = f"column {column.name!r} is {shape.column(column.name).type} ({actual})"
            found.append((f"{said}, declared is {column.type}", _wider(column, declared, actual)))
    extra = [name for name in arrived if name not in {column.name for column in table.columns}]
    if table.undeclared_columns == "refuse":
        found += [(f"column {name!r} is not declared", True) for name in extra]
    told = {column.name for column in shape.columns if column.identity}
    lacking = [name for name in table.key if name not in told]
    if lacking:
        found.append((f"old rows are not told by the key column {', '.join(map(repr, lacking))}", False))
    return found


def _renamed(before: TableShape | None, shape: TableShape) -> dict[str, str]:
    """New names by former names, as far as it looks like that."""
    return {} if before is None else dict(SchemaChange(before, shape, 0).renamed)


def _wider(column: Column, declared: pa.DataType, actual: pa.DataType) -> bool:
    """Whether every value of the declared type is one of the actual type."""
    if declared in _INTEGERS and actual in _INTEGERS:
        return _INTEGERS.index(actual) > _INTEGERS.index(declared)
    if pa.types.is_decimal(declared) and pa.types.is_decimal(actual):
        more_behind = actual.scale >= declared.scale
        return bool(more_behind and actual.precision - actual.scale >= declared.precision - declared.scale)
    return column.type == "float32" and actual == pa.float64()


def _altered(before: TableShape | None, shape: TableShape) -> str:
    """What was done to a table, as far as the stream tells."""
    if before is None:
        return "was found"
    change, renamed = SchemaChange(before, shape, 0), _renamed(before, shape)
    told = [f"{old!r} was perhaps renamed to {new!r}" for old, new in renamed.items()]
    told += [f"{name!r} was dropped" for name in change.dropped if name not in renamed]
    told += [f"{name!r} was added" for name in change.added if name not in renamed.values()]
    told += [f"the type of {name!r} changed" for name in change.retyped]
    told += ["its replica identity changed"] if change.identity_changed else []
    return "was altered: " + (", ".join(told) or "its columns stand in another order")


def _accepted(policy: OnSchemaChange) -> str:
    if policy == "evolve":
        survived = "a column added, a nullable one dropped, an integer, decimal or float widened"
        return f"{survived}; for anything else, change the declaration first"
    return "a table as declared; or on_schema_change='evolve' or 'quarantine' in the source's capture"
