"""PostgreSQL over ADBC: whole tables as Arrow batches, all of one database as of one instant.

The tables of an operational database refer to each other. Read one after the other, each at its own time,
they would not fit together; so one transaction exports its snapshot and every reader joins it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg import sql

from include.ingestion import contracts
from include.ingestion.spans import EVERYTHING, Span
from include.spec.errors import HeadraceError
from include.spec.reads import DatabaseTable
from include.spec.source import Column, Table

BATCH_SIZE_BYTES = 16 * 2**20
_STRINGS = ("text", "character varying", "character")
_SPELLED = {
    "bool": "boolean",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "float32": "real",
    "float64": "double precision",
    "binary": "bytea",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
# A bigint holds every value of a numeric with this many digits.
_BIGINT_DIGITS = 18

_COLUMNS_OF = """
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)::text
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""


class DatabaseError(HeadraceError):
    """The database could not be reached or read."""


@dataclass(frozen=True)
class Snapshot:
    """One instant of a database, readable by any number of connections while it is open."""

    dsn: str
    name: str
    exported: str

    def shown(self, table: Table) -> str:
        """Where the rows of a table come from, for people."""
        read = _database_table(table)
        return f"database {self.name}, table {read.schema_name}.{read.relation or table.name}"

    def read(self, table: Table, span: Span = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """The rows of a table, or those within a span of its cursor, in the order of its key, as declared.

        Raises:
            ContractError: The relation is not there, or not as declared.
            DatabaseError: The database refused or broke off.
        """
        read = _database_table(table)
        origin = self.shown(table)
        schema = contracts.arrow_schema(table)
        with connected(self.dsn, self.name, self.exported) as cursor:
            _check(cursor, table, read, origin)
            cursor.execute(_select(table, read, span))
            for batch in cursor.fetch_record_batch():
                yield contracts.conform(table, schema, _decimals(table, batch), origin)


@contextmanager
def snapshot(dsn: str, name: str) -> Iterator[Snapshot]:
    """Hold one instant of the database open for reading.

    Args:
        dsn: Connection string, with its password; appears in no error.
        name: How errors call the database.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connected(dsn, name) as cursor:
        cursor.execute("SELECT pg_export_snapshot()")
        yield Snapshot(dsn, name, str(cursor.fetchone()[0]))


@contextmanager
def connected(dsn: str, name: str, exported: str | None = None) -> Iterator[Any]:
    """A cursor in a read-only transaction at one instant; the caller's errors keep their type."""
    try:
        with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_SIZE_BYTES)}
            )
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if exported is not None:
                cursor.execute(f"SET TRANSACTION SNAPSHOT {sql.Literal(exported).as_string(None)}")
            try:
                yield cursor
            finally:
                connection.rollback()
    except adbc_driver_manager.Error as error:
        raise DatabaseError(
            f"Database {name} could not be read: {_first_line(error)}",
            remedy="See that it runs and that its connection string (HEADRACE_*_DSN) is right.",
            database=name,
        ) from None


def _check(cursor: Any, table: Table, read: DatabaseTable, origin: str) -> None:
    cursor.execute(_COLUMNS_OF, parameters=(read.schema_name, read.relation or table.name))
    actual = {str(row[0]): str(row[1]) for row in cursor.fetchall()}
    if not actual:
        raise contracts.violated(origin, "does not exist", accepted="an existing table", table=table.name)
    contracts.check_names(table, list(actual), origin)
    # A length limit of a string is the source's affair.
    bare = {
        name: kind.split("(")[0] if kind.startswith("character") else kind for name, kind in actual.items()
    }
    contracts.check_types(table, bare, {column.name: _accepted(column) for column in table.columns}, origin)


def _accepted(column: Column) -> tuple[str, ...]:
    if column.decimal is not None:
        return ("numeric({},{})".format(*column.decimal),)
    return _STRINGS if column.type == "string" else (_SPELLED[column.type],)


def _select(table: Table, read: DatabaseTable, span: Span) -> str:
    """In the order of the key, so that the same rows always make the same bytes."""
    order = table.key or tuple(column.name for column in table.columns)
    statement = sql.SQL("SELECT {} FROM {} {} ORDER BY {}").format(
        sql.SQL(", ").join(_selected(column) for column in table.columns),
        sql.Identifier(read.schema_name, read.relation or table.name),
        _within(read, span),
        sql.SQL(", ").join(sql.Identifier(name) for name in order),
    )
    return statement.as_string(None)


def _within(read: DatabaseTable, span: Span) -> sql.Composable:
    if read.incremental is None:
        return sql.SQL("")
    cursor = sql.Identifier(read.incremental.cursor)
    bounds = [
        sql.SQL("{} {} {}").format(cursor, sql.SQL(sign), sql.Literal(bound))
        for sign, bound in ((">=", span.since), ("<", span.until))
        if bound is not None
    ]
    return sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(bounds)) if bounds else sql.SQL("")


def _selected(column: Column) -> sql.Composable:
    """ADBC gives numeric as text; scaled to an integer it travels in less than half the time, exactly."""
    name = sql.Identifier(column.name)
    if column.decimal is None:
        return name
    precision, scale = column.decimal
    if precision > _BIGINT_DIGITS:
        return sql.SQL("{}::text AS {}").format(name, name)
    return sql.SQL("({} * {})::bigint AS {}").format(name, sql.Literal(10**scale), name)


def _decimals(table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its scaled integers read as the decimals that they are."""
    for index, column in enumerate(table.columns):
        if column.decimal is not None and pa.types.is_int64(batch.schema.types[index]):
            wide = batch.column(index).cast(pa.decimal128(19, 0))
            decimals = pa.Array.from_buffers(pa.decimal128(*column.decimal), len(wide), wide.buffers())
            batch = batch.set_column(index, column.name, decimals)
    return batch


def _database_table(table: Table) -> DatabaseTable:
    assert isinstance(table.read, DatabaseTable)
    return table.read


def _first_line(error: Exception) -> str:
    """What the server said, without the statement and never with the connection string."""
    return str(error).strip().splitlines()[0]
