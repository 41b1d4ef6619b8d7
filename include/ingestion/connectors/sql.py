"""Any database that SQLAlchemy knows, all its tables in one transaction; or, faster, through ConnectorX."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion import contracts
from include.ingestion.connectors import rows
from include.ingestion.connectors.access import setting
from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.spans import EVERYTHING, Span
from include.settings import Settings
from include.spec.reads import SqlTable
from include.spec.source import Table

if TYPE_CHECKING:
    import sqlalchemy as sa

BATCH_ROWS = 65_536
# Decimals of so many digits are told apart by floats.
_FLOAT_DIGITS = 15
# Where one transaction sees one instant only if it is told to.
_REPEATABLE = ("postgresql", "mysql", "mariadb")


class Database:
    """One transaction of a database.

    Args:
        connection: In the transaction.
        url: For ConnectorX, which makes connections of its own.
        name: How errors call it.
    """

    def __init__(self, connection: "sa.Connection", url: "sa.URL", name: str) -> None:
        self._connection, self._url, self._name = connection, url, name

    def shown(self, table: Table) -> str:
        """Where the rows of a table come from, for people."""
        read = _sql(table)
        return f"database {self._name}, table {'.'.join(filter(None, [read.schema_name, _relation(table)]))}"

    def read(self, table: Table, span: Span = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """The rows of a table in the order of its key, as declared.

        Raises:
            ContractError: The relation is not there, or not as declared.
            DatabaseError: The database refused or broke off.
        """
        with _translated(self._name):
            statement = self._statement(table, span)
        if _sql(table).driver == "connectorx":
            yield from self._connectorx(table, statement)
        else:
            yield from rows.batches(table, self._rows(table, statement))

    def _statement(self, table: Table, span: Span) -> "sa.Select[Any]":
        import sqlalchemy as sa

        read, shown = _sql(table), self.shown(table)
        try:
            relation = sa.Table(
                _relation(table), sa.MetaData(), schema=read.schema_name, autoload_with=self._connection
            )
        except sa.exc.NoSuchTableError:
            raise contracts.violated(
                shown, "does not exist", accepted="an existing table", table=table.name
            ) from None
        contracts.check_names(table, list(relation.columns.keys()), shown)
        # What SQLAlchemy makes of a number is rounded to the column's scale; the driver's own value is not.
        wanted = sa.select(
            *[
                sa.type_coerce(found, sa.types.NullType()).label(found.name)
                if isinstance(found.type, sa.Numeric)
                else found
                for found in (relation.columns[column.name] for column in table.columns)
            ]
        )
        if read.incremental is not None:
            cursor = relation.columns[read.incremental.cursor]
            wanted = wanted.where(cursor >= span.since) if span.since is not None else wanted
            wanted = wanted.where(cursor < span.until) if span.until is not None else wanted
        order = table.key or tuple(column.name for column in table.columns)
        return wanted.order_by(*[relation.columns[name] for name in order])

    def _rows(self, table: Table, statement: "sa.Select[Any]") -> Iterator[tuple[str, Mapping[str, Any]]]:
        shown, names = self.shown(table), [column.name for column in table.columns]
        options = {"yield_per": rows.BATCH_ROWS}
        with _translated(self._name):
            try:
                for number, row in enumerate(
                    self._connection.execute(statement, execution_options=options), 1
                ):
                    values = (str(value) if isinstance(value, UUID) else value for value in row)
                    yield f"{shown}, row {number} by key", dict(zip(names, values, strict=True))
            except (ValueError, TypeError) as error:  # a type of SQLAlchemy's cannot make its value
                said = contracts.violated(shown, f"cannot be read: {error}", table=table.name)
                raise (error if isinstance(error, contracts.ContractError) else said) from error

    def _connectorx(self, table: Table, statement: "sa.Select[Any]") -> Iterator[pa.RecordBatch]:
        import connectorx

        text = str(statement.compile(self._connection.engine, compile_kwargs={"literal_binds": True}))
        address = self._url.set(drivername=self._url.get_backend_name()).render_as_string(hide_password=False)
        schema, shown = contracts.arrow_schema(table), self.shown(table)
        try:
            for batch in connectorx.read_sql(
                address, text, return_type="arrow_stream", batch_size=BATCH_ROWS
            ):
                yield contracts.conform(table, schema, _exact(table, batch, shown), shown)
        except RuntimeError as error:
            raise _unreadable(self._name, error) from None
        except BaseException as error:
            # Its Rust panics where a value is not of the type of its column; that is no `Exception`.
            if type(error).__name__ != "PanicException":
                raise
            what = f"cannot be read by ConnectorX: {str(error).splitlines()[0]}"
            raise contracts.violated(
                shown, what, accepted="values of their types", table=table.name
            ) from None


@contextmanager
def database(settings: Settings, url_setting: str, name: str) -> Iterator[Database]:
    """A transaction that is rolled back at the end.

    Args:
        settings: Hold the address, with its password; it appears in no error.
        url_setting: Name of the field.
        name: How errors call the database.

    Raises:
        DatabaseError: It cannot be reached.
    """
    import sqlalchemy as sa

    try:
        url = sa.make_url(setting(settings, url_setting))
        engine = sa.create_engine(url, hide_parameters=True, poolclass=sa.NullPool)
    except (sa.exc.ArgumentError, ImportError) as error:
        kind = type(error).__name__
        raise DatabaseError(
            f"HEADRACE_{url_setting.upper()} is no address of a database that can be read ({kind}).",
            remedy="Accepted: SQLAlchemy's form, as in mysql+pymysql://user:password@host/name.",
        ) from None
    with _translated(name):
        connection = engine.connect()
    try:
        if url.get_backend_name() in _REPEATABLE:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield Database(connection, url, name)
    finally:
        connection.close()
        engine.dispose()


def _exact(table: Table, batch: pa.RecordBatch, shown: str) -> pa.RecordBatch:
    """The batch with decimals that ConnectorX gave as floats, where they are what the floats say."""
    for index, column in enumerate(table.columns):
        values = batch.column(index)
        if column.decimal is None or not pa.types.is_floating(values.type):
            continue
        decimals, same = values, False
        with suppress(pa.ArrowInvalid):
            decimals = pc.cast(values, pa.decimal128(*column.decimal), safe=True)
            same = pc.all(pc.equal(pc.cast(decimals, values.type), values)).as_py() is not False
        if column.decimal[0] > _FLOAT_DIGITS or not same:
            raise contracts.violated(
                shown,
                f"column {column.name!r} comes as a float that is no {column.type}",
                accepted=f"{column.type}, or driver='sqlalchemy'",
                table=table.name,
                column=column.name,
            )
        batch = batch.set_column(index, column.name, decimals)
    return batch


def _sql(table: Table) -> SqlTable:
    assert isinstance(table.read, SqlTable)
    return table.read


def _relation(table: Table) -> str:
    return _sql(table).relation or table.name


@contextmanager
def _translated(name: str) -> Iterator[None]:
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise _unreadable(name, getattr(error, "orig", None) or error) from None


def _unreadable(name: str, error: BaseException) -> DatabaseError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DatabaseError(
        f"Database {name} could not be read: {first}",
        remedy="See that it runs and that its address (HEADRACE_*_URL) is right.",
        database=name,
    )
