"""Spans of a cursor: what the next read of an incremental table takes, and the partitions of a whole one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from include.spec.errors import HeadraceError
from include.spec.reads import Backfill, Incremental
from include.spec.source import Column, Table

Cursor = int | date | datetime


class SpanError(HeadraceError):
    """What was asked for is no range of a table's cursor."""


@dataclass(frozen=True)
class Span:
    """From a cursor (inclusive) to another (exclusive); None has no bound.

    Args:
        since: The lowest that is wanted.
        until: The first that is not wanted any more.
    """

    since: Cursor | None = None
    until: Cursor | None = None


EVERYTHING = Span()


@dataclass(frozen=True)
class Asked:
    """What a person wants read of incremental tables; by default what is new.

    Args:
        everything: A full refresh: all rows, in place of what the lake has.
        since: Cursor where a range begins that is read anew, in place of what the lake has of it.
        until: Where the range ends (exclusive).
    """

    everything: bool = False
    since: str = ""
    until: str = ""


WHAT_IS_NEW = Asked()


def cursor_of(column: Column, text: str) -> Cursor:
    """The value of a cursor from its text, in the type of its column.

    Raises:
        ValueError: It is not of that type.
    """
    if column.type.startswith("int"):
        return int(text)
    if column.type == "date":
        return date.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    if column.type == "timestamp":
        return (
            moment.replace(tzinfo=None)
            if moment.tzinfo is None
            else moment.astimezone(UTC).replace(tzinfo=None)
        )
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def cursor_text(value: Cursor) -> str:
    """The text of a cursor: a number, or ISO 8601; a moment in UTC ends with Z."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, int) else value.isoformat()


def next_span(incremental: Incremental, column: Column, reached: str) -> Span:
    """What to read after a position, late rows included.

    Args:
        incremental: How the table is read.
        column: The cursor.
        reached: The highest cursor that the lake holds, as text.
    """
    value = cursor_of(column, reached)
    late: int | timedelta = incremental.late_window
    if isinstance(value, datetime):
        late = timedelta(seconds=incremental.late_window)
    elif isinstance(value, date):
        late = timedelta(days=incremental.late_window)
    try:
        return Span(since=value - late)  # type: ignore[operator]  # a number less a number, a time less a time
    except OverflowError:
        return EVERYTHING


def asked_span(table: Table, since: str, until: str) -> Span:
    """The span that somebody asked for, as text; empty has no bound.

    Raises:
        SpanError: A bound is not of the cursor's type, or the end is not behind the begin.
    """
    assert table.read.incremental is not None
    column = table.column(table.read.incremental.cursor)
    try:
        first, last = (cursor_of(column, text) if text else None for text in (since, until))
    except ValueError:
        first = last = 0
    if first is not None and last is not None and not first < last:  # type: ignore[operator]  # of one type
        raise SpanError(
            f"From {since!r} until {until!r} is no range of {table.name}.{column.name}.",
            remedy=f"Accepted: two of type {column.type}, times in ISO 8601, the second behind the first.",
        )
    return Span(first, last)


def partitions(table: Table, span: Span, now: datetime) -> Iterator[Span]:
    """A span cut into what is read at a time; the last has no end where the span has none.

    Args:
        table: An incremental table.
        span: What is wanted.
        now: Partitions of a time end with the one that holds this moment.
    """
    incremental = table.read.incremental
    assert incremental is not None
    if incremental.backfill is None:
        yield span
        return
    column = table.column(incremental.cursor)
    start = cursor_of(column, incremental.backfill.start)
    since: Cursor | None = span.since
    if since is None or since < start:  # type: ignore[operator]  # both are of the column's type
        # What lies before the declared start is not promised to be there; it is one partition.
        first = start if span.until is None or start < span.until else span.until  # type: ignore[operator]
        yield Span(since, first)
        since = first
    last = span.until if span.until is not None else _now(column, now)
    while last is not None and since < last:  # type: ignore[operator]
        end = min(_after(since, incremental.backfill), last)
        yield Span(since, end)
        since = end
    if span.until is None:
        yield Span(since, None)


def _now(column: Column, now: datetime) -> Cursor | None:
    if column.type.startswith("int"):
        return None
    return now.date() if column.type == "date" else cursor_of(column, now.isoformat())


def _after(value: Cursor, backfill: Backfill) -> Cursor:
    step = backfill.step
    if isinstance(value, int):
        assert isinstance(step, int)
        return value + step
    if step in ("month", "year"):
        months = value.year * 12 + value.month - 1 + (1 if step == "month" else 12)
        # The first of a month, so that there is such a day.
        return value.replace(year=months // 12, month=months % 12 + 1, day=1)
    lengths = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
    length = lengths[str(step)]
    return value + (length if isinstance(value, datetime) else max(length, lengths["day"]))
