"""DuckDB for SQLAlchemy, as far as Great Expectations asks: run a SELECT, list the columns of a view.

Great Expectations bundles all metrics of a table into a few SELECTs on a SQL engine and on no other, and
DuckDB runs them over Parquet files with a bound on its memory.
"""

from typing import Any

from sqlalchemy import Connection, types
from sqlalchemy.dialects import registry
from sqlalchemy.engine.default import DefaultDialect

URL = "duckdb://"


class DuckDBDialect(DefaultDialect):
    """Reads only; the caller's connection is given to the engine as its `creator`."""

    name = "duckdb"
    driver = "duckdb"
    paramstyle = "qmark"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """The module of the driver."""
        import duckdb

        return duckdb

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Nothing is written, and DuckDB refuses to roll back outside a transaction."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """Nothing is written."""

    def get_columns(
        self,
        connection: Connection,
        table_name: str,
        schema: str | None = None,  # noqa: ARG002  # there is one
        **_: Any,
    ) -> list[Any]:
        """Name and type of each column, the type in DuckDB's own spelling."""
        statement = (
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = ?"
        )
        rows = connection.exec_driver_sql(statement + " ORDER BY ordinal_position", (table_name,)).fetchall()
        return [
            {"name": name, "type": _Spelled(kind), "nullable": nullable == "YES", "default": None}
            for name, kind, nullable in rows
        ]

    def has_table(self, connection: Connection, table_name: str, schema: str | None = None, **_: Any) -> bool:
        """Whether there is such a table or view."""
        return bool(self.get_columns(connection, table_name, schema))

    def get_pk_constraint(self, *_: Any, **__: Any) -> Any:
        """Parquet files have none."""
        return {"constrained_columns": [], "name": None}

    def _get_default_schema_name(self, _connection: Connection) -> str:
        return "main"


class _Spelled(types.NullType):
    """A type of which only the name is known."""

    def __init__(self, spelled: str) -> None:
        super().__init__()
        self.spelled = spelled

    def __repr__(self) -> str:
        return self.spelled


def register() -> None:
    """Make `duckdb://` known to SQLAlchemy; again is harmless."""
    registry.register("duckdb", __name__, DuckDBDialect.__name__)
