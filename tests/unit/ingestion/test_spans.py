"""Spans of cursors: what comes next, what a partition is, and that partitions leave nothing out."""

import itertools
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.spans import (
    Cursor,
    Span,
    SpanError,
    asked_span,
    cursor_of,
    cursor_text,
    next_span,
    partitions,
)
from include.spec.declaration import DeclarationError
from include.spec.reads import Backfill, Incremental, SqlTable
from include.spec.source import Column, Table

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def a_table(type_: str, start: str = "2026-01-01", step: object = "month", late: int = 0) -> Table:
    backfill = Backfill(start=start, step=step)  # type: ignore[arg-type]
    read = SqlTable(url="shop_url", incremental=Incremental(cursor="at", late_window=late, backfill=backfill))
    return Table(
        name="orders", description="x", read=read, columns=(Column(name="at", type=type_),), key=("at",)
    )


@pytest.mark.parametrize(
    ("type_", "text", "late", "since"),
    [
        ("int64", "100", 10, 90),
        ("date", "2026-01-31", 2, date(2026, 1, 29)),
        ("timestamp", "2026-01-31T12:00:00", 60, datetime(2026, 1, 31, 11, 59)),
        ("timestamptz", "2026-01-31T12:00:00.000001Z", 0, datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)),
        ("timestamptz", "0001-01-01T00:00:00Z", 60, None),
    ],
)
def test_the_next_read_begins_a_window_before_where_the_last_one_ended(type_, text, late, since):
    incremental = Incremental(cursor="at", late_window=late)
    assert next_span(incremental, Column(name="at", type=type_), text) == Span(since=since)


@pytest.mark.parametrize("type_", ["int32", "date", "timestamp", "timestamptz"])
def test_a_position_is_read_back_as_it_was(type_):
    moment = datetime(2026, 1, 31, 1, 2, 3, 4)
    values: dict[str, Cursor] = {"int32": 7, "date": date(2026, 1, 31), "timestamp": moment}
    value = values.get(type_, moment.replace(tzinfo=UTC))
    assert cursor_of(Column(name="at", type=type_), cursor_text(value)) == value


@given(
    st.sampled_from(["hour", "day", "week", "month", "year"]),
    st.dates(date(2025, 1, 1), date(2027, 1, 1)),
    st.none() | st.dates(date(2025, 1, 1), date(2027, 1, 1)),
    st.none() | st.dates(date(2025, 1, 1), date(2027, 1, 1)),
)
def test_partitions_follow_each_other_without_a_gap(step, start, since, until):
    if since and until and since >= until:
        since, until = None, until
    bounds = [datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None for day in (since, until)]
    found = list(partitions(a_table("timestamptz", str(start), step), Span(*bounds), NOW))
    assert (found[0].since, found[-1].until) == tuple(bounds)
    assert all(before.until == after.since for before, after in itertools.pairwise(found))
    assert all(one.since != one.until for one in found)


def test_months_and_numbers():
    months = list(partitions(a_table("date", "2026-01-10"), Span(), NOW))
    assert months == [
        Span(None, date(2026, 1, 10)),
        Span(date(2026, 1, 10), date(2026, 2, 1)),
        Span(date(2026, 2, 1), date(2026, 3, 1)),
        Span(date(2026, 3, 1), date(2026, 3, 15)),
        Span(date(2026, 3, 15), None),
    ]
    numbers = list(partitions(a_table("int64", "0", 100), Span(50, 220), NOW))
    assert numbers == [Span(50, 150), Span(150, 220)]
    hours = list(partitions(a_table("date", "2026-03-13", "hour"), Span(), NOW))
    assert hours[1] == Span(date(2026, 3, 13), date(2026, 3, 14))


@pytest.mark.parametrize(
    ("since", "until"), [("soon", ""), ("2026-02-01", "2026-01-01"), ("2026-01-01", "2026-01-01")]
)
def test_what_is_no_range_is_refused(since, until):
    with pytest.raises(SpanError, match="Accepted: two of type timestamptz"):
        asked_span(a_table("timestamptz"), since, until)


def test_a_range_that_was_asked_for():
    assert asked_span(a_table("date"), "2026-01-01", "") == Span(date(2026, 1, 1), None)
    assert asked_span(a_table("timestamptz"), "", "2026-01-01").until == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type_", "start", "step"), [("int64", "2026-01-01", "month"), ("date", "0", 5), ("string", "0", 5)]
)
def test_a_declaration_that_contradicts_itself_is_refused(type_, start, step):
    with pytest.raises(DeclarationError, match="incremental"):
        a_table(type_, start, step)
