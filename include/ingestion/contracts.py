"""The contract of a table: what arrives is what was declared, or one clear error and nothing published."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.row_text import fit_column, row_texts, with_misfits
from include.spec.errors import HeadraceError
from include.spec.source import Column, Table

_ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
_LONGEST_TOLD = 500
_REMEDY = "Correct the source, or its declaration if the change is meant. Nothing was published."


class ContractError(HeadraceError):
    """What arrived is not what the table's declaration says."""


def violated(origin: str, what: str, *, accepted: str = "", **ids: object) -> ContractError:
    """The error for one violation.

    Args:
        origin: File or relation that it was found in.
        what: What was found there.
        accepted: What would be right.
        ids: Names of the things concerned.
    """
    wanted = f" Accepted: {accepted}." if accepted else ""
    return ContractError(f"{told(origin)}: {told(what)}.{wanted}", remedy=_REMEDY, **ids)


def told(text: str) -> str:
    """A text with what arrived in it, fit for one line of a log: bounded, and without control characters.

    Logs and databases that errors end up in take no NUL, and no value of ten megabytes.
    """
    short = text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in short)


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a declared column."""
    if column.decimal is not None:
        return pa.decimal128(*column.decimal)
    return _ARROW[column.type]


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a declared table, columns in order of declaration."""
    return pa.schema(
        [pa.field(column.name, arrow_type(column), nullable=column.nullable) for column in table.columns]
    )


def check_names(table: Table, names: Sequence[str], origin: str) -> None:
    """Hold the column names that arrived to those declared; their order is free.

    Raises:
        ContractError: A column is missing, twice there, or undeclared where the table refuses that.
    """
    declared = [column.name for column in table.columns]
    missing = [name for name in declared if name not in names]
    if missing:
        raise violated(
            origin, f"column {_quoted(missing)} is missing", accepted=_quoted(declared), table=table.name
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise violated(
            origin, f"column {_quoted(twice)} is there twice", accepted=_quoted(declared), table=table.name
        )
    extra = [name for name in names if name not in declared]
    if extra and table.undeclared_columns == "refuse":
        accepted = f"{_quoted(declared)}, or undeclared_columns='ignore' in the declaration"
        raise violated(
            origin, f"column {_quoted(extra)} is not declared", accepted=accepted, table=table.name
        )


def check_types(
    table: Table, actual: Mapping[str, str], accepted: Mapping[str, Sequence[str]], origin: str
) -> None:
    """Hold the types that arrived, in the source's own spelling, to those that fit each declared column.

    Args:
        table: The declaration.
        actual: Type by column name.
        accepted: The spellings that fit, by column name.
        origin: File or relation, for the error.

    Raises:
        ContractError: A column has another type.
    """
    for column in table.columns:
        if actual[column.name] not in accepted[column.name]:
            raise violated(
                origin,
                f"column {column.name!r} is {actual[column.name]}, declared is {column.type}",
                accepted=" or ".join(accepted[column.name]),
                table=table.name,
                column=column.name,
            )


def check_rows(table: Table, rows: int, origin: str) -> None:
    """Refuse a table without rows where the declaration does not allow one.

    Raises:
        ContractError: It is empty.
    """
    if rows == 0 and not table.may_be_empty:
        raise violated(
            origin, "holds no rows", accepted="at least one row, or may_be_empty=True", table=table.name
        )


def conform(table: Table, schema: pa.Schema, batch: pa.RecordBatch, origin: str) -> pa.RecordBatch:
    """The declared columns of a batch, in declared order and type, without a value lost.

    Of a table that puts rows apart, a row with a value that does not fit is named in the column `_misfit`,
    and a value may be missing anywhere: the sieve takes such rows out.

    Args:
        table: The declaration.
        schema: `arrow_schema(table)`, made once by the caller.
        batch: Rows whose columns were checked by `check_names`.
        origin: File or relation, for the error.

    Raises:
        ContractError: A value does not fit its type, or is missing where it must not be; of a table that puts
            rows apart, only where no value of a column could fit.
    """
    if table.on_violation == "quarantine":
        return _conform_rows(table, schema, batch, origin)
    columns = []
    for field in schema:
        values = batch.column(field.name)
        if values.null_count and not field.nullable:
            raise violated(
                origin,
                f"column {field.name!r} has no value in {values.null_count} of {len(values)} rows",
                accepted="a value in every row, or nullable=True",
                table=table.name,
                column=field.name,
            )
        columns.append(values if values.type == field.type else _cast(table, field, values, origin))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _conform_rows(table: Table, schema: pa.Schema, batch: pa.RecordBatch, origin: str) -> pa.RecordBatch:
    misfits: dict[int, tuple[str, str]] = {}
    columns = []
    for field in schema:
        values = batch.column(field.name)
        try:
            columns.append(fit_column(values, field, misfits))
        except pa.ArrowNotImplementedError as error:
            raise violated(
                origin,
                f"column {field.name!r} ({values.type}) cannot become {field.type}: {error}",
                accepted=table.column(field.name).type,
                table=table.name,
                column=field.name,
            ) from error
    fitted = pa.RecordBatch.from_arrays(columns, schema=schema)
    strange = sorted(misfits)
    texts = row_texts(batch.take(pa.array(strange, pa.int64())))
    return with_misfits(fitted, misfits, dict(zip(strange, texts, strict=True)))


def _cast(table: Table, field: pa.Field, values: pa.Array, origin: str) -> pa.Array:
    try:
        return pc.cast(values, field.type, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        declared = table.column(field.name).type
        raise violated(
            origin,
            f"column {field.name!r} ({values.type}) holds a value that does not fit: {error}",
            accepted=declared,
            table=table.name,
            column=field.name,
        ) from error


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
