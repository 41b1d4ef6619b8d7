"""The join against a model of it that a child could check: look at every row, keep those that were known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from include.features.point_in_time import connected, join
from include.spec.feature import FeatureColumn, FeatureTable

START = datetime(2017, 1, 1)
PEOPLE = st.integers(0, 2)
CAMPAIGNS = st.integers(0, 1)
DAYS = st.integers(0, 8)


@dataclass(frozen=True)
class Row:
    entity: tuple[int, ...]
    event: int
    created: int
    value: int | None


def rows(entity: st.SearchStrategy[tuple[int, ...]]) -> st.SearchStrategy[list[Row]]:
    """Rows in any order, with late corrections, rows known before their event, and rows known at once."""
    row = st.builds(Row, entity, DAYS, DAYS, st.none() | st.integers(0, 99))
    return st.lists(row, max_size=14, unique_by=lambda row: (row.entity, row.event, row.created))


def table(name: str, entity: tuple[str, ...], column: str, max_age_days: int | None) -> FeatureTable:
    columns = (*entity, "event_timestamp", "created_timestamp", column)
    return FeatureTable(
        name=name,
        description="Rows made up.",
        entity=entity,
        columns=tuple(FeatureColumn(name=each, type="any", description="Made up.") for each in columns),
        max_age_days=max_age_days,
    )


def known(rows: list[Row], entity: tuple[int, ...], at: int, max_age_days: int | None) -> Row | None:
    """What was known of the entity at that time."""
    usable = [row for row in rows if row.entity == entity and row.event <= at and row.created <= at]
    best = max(usable, key=lambda row: (row.event, row.created), default=None)
    if best is not None and max_age_days is not None and at - best.event > max_age_days:
        return None
    return best


def fill(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: dict[str, str],
    rows: Sequence[Sequence[object]],
) -> None:
    connection.execute(f"CREATE TABLE {name} ({', '.join(f'{key} {kind}' for key, kind in columns.items())})")
    if rows:
        marks = ", ".join("(" + ", ".join("?" * len(columns)) + ")" for _ in rows)
        connection.execute(f"INSERT INTO {name} VALUES {marks}", [value for row in rows for value in row])


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@settings(max_examples=150, deadline=None)
@given(
    people=rows(st.tuples(PEOPLE)),
    pairs=rows(st.tuples(PEOPLE, CAMPAIGNS)),
    points=st.lists(st.tuples(PEOPLE, CAMPAIGNS, DAYS), min_size=1, max_size=12, unique=True),
    max_age_days=st.none() | st.integers(1, 4),
)
def test_a_point_gets_what_was_known_of_it_then(
    people: list[Row],
    pairs: list[Row],
    points: list[tuple[int, int, int]],
    max_age_days: int | None,
) -> None:
    tables = (
        table("people", ("person",), "height", None),
        table("pairs", ("person", "campaign"), "liking", max_age_days),
    )
    held = [[*row.entity, day(row.event), day(row.created), row.value] for row in people]
    both = [[*row.entity, day(row.event), day(row.created), row.value] for row in pairs]
    asked = [[number, person, campaign, day(at)] for number, (person, campaign, at) in enumerate(points)]
    sql = join(tables, ("height", "liking"))
    columns = (
        "point, height, liking, people__event_timestamp, people__created_timestamp, "
        "pairs__event_timestamp, pairs__created_timestamp"
    )
    with connected() as connection:
        times = {"event_timestamp": "TIMESTAMP", "created_timestamp": "TIMESTAMP"}
        fill(connection, "people", {"person": "INT", **times, "height": "INT"}, held)
        fill(connection, "pairs", {"person": "INT", "campaign": "INT", **times, "liking": "INT"}, both)
        point = {"point": "INT", "person": "INT", "campaign": "INT", "event_timestamp": "TIMESTAMP"}
        fill(connection, "points", point, asked)
        joined = connection.execute(f"SELECT {columns} FROM ({sql}) ORDER BY point").fetchall()
    expected = []
    for number, (person, campaign, at) in enumerate(points):
        tall = known(people, (person,), at, None)
        liked = known(pairs, (person, campaign), at, max_age_days)
        known_at = [(day(row.event), day(row.created)) if row else (None, None) for row in (tall, liked)]
        values = [row.value if row else None for row in (tall, liked)]
        expected.append((number, *values, *known_at[0], *known_at[1]))
    assert joined == expected
