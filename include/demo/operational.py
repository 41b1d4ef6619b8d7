"""Load the shop's seven tables into PostgreSQL: all of them or none, once."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from include.demo import complete_journey
from include.demo.complete_journey import Slice
from include.demo.copying import copy_rows
from include.ingestion.contracts import arrow_schema
from include.sources.retail import SOURCE
from include.spec.reads import DatabaseTable

_SCHEMA, _CONSTRAINTS = (Path(__file__).parent / "retail.sql").read_text().split("-- rows\n")
# The order in which rows go in: a referred table before those that refer to it.
_TABLES = tuple(
    sorted(
        (table for table in SOURCE.tables if isinstance(table.read, DatabaseTable)),
        key=lambda table: complete_journey.TABLES.index(table.name),
    )
)
_LOCK = 0x48656164  # any number, the same for every loader of the demo

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Loaded:
    """What the operational database holds after a load.

    Args:
        rows: By table.
        seconds: What the load took; 0 when it was there already.
        already: Whether an earlier load was found whole, and nothing was done.
    """

    rows: Mapping[str, int]
    seconds: float
    already: bool


def load(dsn: str, part: Slice = complete_journey.WHOLE, progress: Progress | None = None) -> Loaded:
    """Make sure the database holds the shop; a whole load is kept, whatever changed in it since.

    Everything happens in one transaction, under a lock, so nothing half-loaded is ever seen; tables that an
    interrupted or different load left are replaced.

    Args:
        dsn: Of a database that this may own.
        part: How much of the data.
        progress: Told the table and how many more rows went in.
    """
    started = time.monotonic()
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        found = _found(connection, part)
        if found is not None:
            return Loaded(found, 0.0, already=True)
        for table in reversed(_TABLES):
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(table.name)))
        connection.execute(_SCHEMA)
        rows = {
            table.name: copy_rows(
                connection,
                table.name,
                (schema := arrow_schema(table)),
                complete_journey.read(table.name, schema, part),
                progress,
            )
            for table in _TABLES
        }
        connection.execute(_CONSTRAINTS)
        connection.execute(sql.SQL("COMMENT ON SCHEMA public IS {}").format(sql.Literal(_mark(part))))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return Loaded(rows, time.monotonic() - started, already=False)


def _found(connection: psycopg.Connection, part: Slice) -> dict[str, int] | None:
    """Rows by table where this slice was loaded whole and no table is gone since, else None."""
    mark = connection.execute("SELECT obj_description('public'::regnamespace)").fetchone()
    if mark is None or mark[0] != _mark(part):
        return None
    rows: dict[str, int] = {}
    for table in _TABLES:
        there = connection.execute("SELECT to_regclass(%s)", [f"public.{table.name}"]).fetchone()
        if there is None or there[0] is None:
            return None
        counted = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))
        ).fetchone()
        rows[table.name] = int(counted[0]) if counted else 0
    return rows


def _mark(part: Slice) -> str:
    return f"Complete Journey, {part.name}"
