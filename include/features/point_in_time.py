"""The point-in-time join: to each point of prediction what was known of it then, and nothing newer.

A row of a feature table has two times: `event_timestamp`, up to which it tells, and `created_timestamp`, when
it could be known. A point at time t may use a row only if both are at most t; of those it gets the one with
the greatest (event, created). So a correction that came late counts from when it came, and a late row about
an earlier time never replaces one about a later time.

How: a row can be used from its effective time on, the later of its two. Per entity, by effective time, the
best row so far is carried along; then one ASOF join finds the effective time that a point falls after.
Training and scoring both go through here, so that a model is asked as it was taught.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.features.build import DATA_FILE, TABLE_FILE, literal, quoted
from include.features.errors import TrainingSetError
from include.spec.feature import CREATED_TIMESTAMP, EVENT_TIMESTAMP, FeatureColumn, FeatureTable

if TYPE_CHECKING:
    import duckdb

POINTS = "points"

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "2GB",
    "autoinstall_known_extensions": False,
}


@dataclass(frozen=True)
class Held:
    """A feature table as a folder holds it.

    Args:
        table: What it is.
        folder: Where its Parquet files are.
    """

    table: FeatureTable
    folder: Path

    @property
    def relation(self) -> str:
        """SQL that reads all its rows."""
        return f"read_parquet({literal(self.folder / '*.parquet')})"


@contextmanager
def connected() -> "Iterator[duckdb.DuckDBPyConnection]":
    """A database in memory, bounded, whose clock is UTC."""
    import duckdb

    with duckdb.connect(config=_SETTINGS) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def held_table(features: Path, name: str) -> Held:
    """The feature table of that name.

    Raises:
        TrainingSetError: The folder does not hold it.
    """
    folder = features / name
    if not (folder / TABLE_FILE).is_file() or not any(folder.glob("*.parquet")):
        raise TrainingSetError(
            f"{folder}: holds no feature table; expected {TABLE_FILE} and {DATA_FILE}.",
            remedy="Build the features first, and check out the commit that holds them.",
            table=name,
        )
    return Held(FeatureTable.from_json((folder / TABLE_FILE).read_text()), folder)


def naive_utc(moment: datetime) -> datetime:
    """The moment as Parquet keeps it: in UTC, without a zone. One without a zone is taken as UTC."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def load(connection: "duckdb.DuckDBPyConnection", held: Held, as_of: datetime) -> None:
    """Make a temporary table of the rows that were known as of then, under the table's own name.

    Raises:
        TrainingSetError: Two rows have one key: which of them holds would be a matter of chance.
    """
    table = held.table
    kept = ", ".join(quoted(column.name) for column in (*_entity(table), *table.features))
    connection.execute(
        f"CREATE TEMP TABLE {quoted(table.name)} AS SELECT {kept}, "  # noqa: S608
        f"{EVENT_TIMESTAMP}::TIMESTAMP AS {EVENT_TIMESTAMP}, "
        f"{CREATED_TIMESTAMP}::TIMESTAMP AS {CREATED_TIMESTAMP} FROM {held.relation} "
        f"WHERE {EVENT_TIMESTAMP}::TIMESTAMP <= $as_of AND {CREATED_TIMESTAMP}::TIMESTAMP <= $as_of",
        {"as_of": as_of},
    )
    check_unique(connection, table.name, table.key)


def check_unique(connection: "duckdb.DuckDBPyConnection", relation: str, key: Sequence[str]) -> None:
    """Refuse a relation in which two rows share a key.

    Raises:
        TrainingSetError: They do; the message names one.
    """
    columns = ", ".join(quoted(name) for name in key)
    twice = connection.execute(
        f"SELECT {columns} FROM {quoted(relation)} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"  # noqa: S608
    ).fetchall()
    if twice:
        found = ", ".join(f"{name}={value}" for name, value in zip(key, twice[0], strict=True))
        raise TrainingSetError(
            f"Feature table {relation!r} holds two rows of one key: {found}.",
            remedy="Make the key unique where the table is built.",
            table=relation,
        )


def join(tables: Sequence[FeatureTable], features: Sequence[str]) -> str:
    """SQL of the points, each with the features that were known at its time, null where nothing was.

    Expects the temporary table `points` (`point`, the entity, `event_timestamp`) and one per feature table.
    The result also tells, as `<table>__event_timestamp` and `<table>__created_timestamp`, which row was used.

    Args:
        tables: The feature tables; each is joined on the entity columns that it has.
        features: The columns to take from them, in this order.
    """
    owner = {column.name: table for table in tables for column in table.features}
    history = ",\n".join(_history(table) for table in tables)
    taken = ", ".join(f"{quoted(owner[name].name)}.{quoted(name)}" for name in features)
    times = ", ".join(
        f"{quoted(table.name)}.{time} AS {quoted(f'{table.name}__{time}')}"
        for table in tables
        for time in (EVENT_TIMESTAMP, CREATED_TIMESTAMP)
    )
    joins = "\n".join(_asof(table) for table in tables)
    return f"WITH {history}\nSELECT {POINTS}.*, {taken}, {times} FROM {POINTS}\n{joins}"


def _entity(table: FeatureTable) -> list[FeatureColumn]:
    return [column for column in table.columns if column.name in table.entity]


def _history(table: FeatureTable) -> str:
    """Per entity and effective time the row that holds from then on: its number in the table."""
    entity = ", ".join(quoted(name) for name in table.entity)
    effective = f"greatest({EVENT_TIMESTAMP}, {CREATED_TIMESTAMP})"
    # RANGE, so that rows with one effective time see each other and agree on the best of them.
    best = (
        f"max(({EVENT_TIMESTAMP}, {CREATED_TIMESTAMP}, rowid)) OVER (PARTITION BY {entity} "
        f"ORDER BY {effective} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    )
    return (
        f"{quoted(f'{table.name}.history')} AS (SELECT DISTINCT {entity}, {effective} AS effective, "  # noqa: S608
        f"{best}[3] AS row_number FROM {quoted(table.name)})"
    )


def _asof(table: FeatureTable) -> str:
    name, history = quoted(table.name), quoted(f"{table.name}.history")
    same = " AND ".join(f"{POINTS}.{quoted(key)} = {history}.{quoted(key)}" for key in table.entity)
    young = ""
    if table.max_age_days is not None:
        oldest = f"{POINTS}.{EVENT_TIMESTAMP} - INTERVAL {table.max_age_days} DAY"
        young = f" AND {name}.{EVENT_TIMESTAMP} >= {oldest}"
    return (
        f"ASOF LEFT JOIN {history} ON {same} AND {POINTS}.{EVENT_TIMESTAMP} >= {history}.effective\n"
        f"LEFT JOIN {name} ON {name}.rowid = {history}.row_number{young}"
    )
