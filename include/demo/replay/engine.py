"""Apply a plan to a database: in order, each transaction once, whatever is killed in between."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import psycopg
from psycopg import sql

from include.demo.replay.statements import Transaction
from include.spec.errors import HeadraceError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK = 0x52657061  # any number, the same for every replay
_LOCK_WAIT_MS = 30_000
# One message to the server holds no more than this: it is what a killed replay may still apply.
_BATCH_ROWS = 5_000
_BATCH_TRANSACTIONS = 500
_SESSION = "-c standard_conforming_strings=on -c timezone=UTC"
_POSITION = """
CREATE SCHEMA replay;
COMMENT ON SCHEMA replay IS 'How far headrace replay came';
CREATE TABLE replay.position (
    plan text NOT NULL,
    transactions bigint NOT NULL,
    rows bigint NOT NULL,
    reached timestamp NOT NULL,
    finished boolean NOT NULL
)"""


class ReplayError(HeadraceError):
    """The plan cannot be applied to this database."""


class Plan(Protocol):
    """What happens to an operational system, in order; the same each time that it is made."""

    @property
    def identity(self) -> str:
        """Equal for plans of the same transactions."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that the opening makes."""

    @property
    def starts_us(self) -> int:
        """When it opens: microseconds of UTC since 1970."""

    def open(self, connection: psycopg.Connection, progress: "Progress | None") -> int:
        """Make the tables with what is there before anything happens; say how many rows."""

    def transactions(self) -> Iterator[Transaction]:
        """What happens then, by time."""


@dataclass(frozen=True)
class Position:
    """How far a replay came.

    Args:
        plan: Identity of the plan.
        transactions: How many of its transactions are applied; 0 after the opening.
        rows: How many rows these and the opening changed.
        reached: When the last of them happened, UTC.
        finished: Whether there are no more.
    """

    plan: str
    transactions: int
    rows: int
    reached: datetime
    finished: bool


@dataclass(frozen=True)
class Replayed:
    """What one replay did.

    Args:
        position: Where it left off.
        transactions: How many it applied.
        rows: How many rows these changed, with those of the opening where it opened.
        seconds: What that took.
    """

    position: Position
    transactions: int
    rows: int
    seconds: float


# Told what is written or when it happened, and how many more rows changed.
Progress = Callable[[str, int], None]


def replay(
    dsn: str,
    plan: Plan,
    *,
    until: datetime | None = None,
    speed: float | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> Replayed:
    """Go on with a plan from where the database is; an empty database is opened first.

    Args:
        dsn: Of a database of the plan's own.
        plan: What happens.
        until: Nothing is applied that happens at this time or later (UTC); None for all.
        speed: Seconds of the plan that pass in a second; None for as fast as the database takes it.
        again: Drop what an earlier replay left, and open anew.
        progress: Told of every batch.

    Raises:
        ReplayError: The database holds something else, another replay is at work in it, it refuses a
            transaction of the plan, or it went away.
    """
    try:
        return _replay(dsn, plan, until, speed, again, progress)
    except psycopg.OperationalError as error:
        raise ReplayError(
            f"The database does not answer: {str(error).strip()}",
            remedy="Start it (`headrace up`), then run the same again: it goes on where it was.",
        ) from error


def _replay(
    dsn: str, plan: Plan, until: datetime | None, speed: float | None, again: bool, progress: Progress | None
) -> Replayed:
    started = time.monotonic()
    with psycopg.connect(dsn, autocommit=True, options=_SESSION) as connection:
        _take_lock(connection)
        if again:
            _drop(connection, plan)
        before = position(connection)
        opened = 0
        if before is None:
            opened = _open(connection, plan, progress)
        elif before.plan != plan.identity:
            raise ReplayError(
                f"The database holds a replay of {before.plan}; {plan.identity} is asked for.",
                remedy="Ask for the same, or begin anew with --again.",
            )
        reached = position(connection)
        assert reached is not None
        run = _Run(connection, reached, progress)
        if not reached.finished:
            if speed is None:
                # The position is written with the data: what a crash forgets, it forgets of both.
                connection.execute("SET synchronous_commit = off")
            run.go(plan.transactions(), until, speed)
    return Replayed(
        run.position,
        run.position.transactions - reached.transactions,
        run.position.rows - reached.rows + opened,
        time.monotonic() - started,
    )


def position(connection: psycopg.Connection) -> Position | None:
    """How far the replay of a database came; None where there is none."""
    there = connection.execute("SELECT to_regclass('replay.position')").fetchone()
    if there is None or there[0] is None:
        return None
    row = connection.execute(
        "SELECT plan, transactions, rows, reached, finished FROM replay.position"
    ).fetchone()
    if row is None:
        raise ReplayError("The database has lost how far its replay came.", remedy="Begin anew with --again.")
    return Position(row[0], row[1], row[2], row[3].replace(tzinfo=UTC), row[4])


def _take_lock(connection: psycopg.Connection) -> None:
    """Wait until a killed replay's last message is worked off: the server does so without its client."""
    connection.execute(f"SET lock_timeout = {_LOCK_WAIT_MS}".encode())
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    except psycopg.errors.LockNotAvailable as error:
        raise ReplayError(
            "Another replay is at work in this database.", remedy="Let it end, or stop it."
        ) from error
    connection.execute("SET lock_timeout = 0")


def _drop(connection: psycopg.Connection, plan: Plan) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, plan.tables))
    with connection.transaction():
        if position(connection) is not None:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(names))
            connection.execute("DROP SCHEMA replay CASCADE")


def _open(connection: psycopg.Connection, plan: Plan, progress: Progress | None) -> int:
    found = connection.execute(
        "SELECT relname::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%s)",
        [list(plan.tables)],
    ).fetchall()
    if found:
        raise ReplayError(
            f"The database has tables that no replay made: {', '.join(sorted(name for (name,) in found))}.",
            remedy="Give the replay a database of its own.",
        )
    with connection.transaction():
        rows = plan.open(connection, progress)
        connection.execute(_POSITION)
        connection.execute(
            "INSERT INTO replay.position VALUES (%s, 0, %s, %s, false)",
            [plan.identity, rows, _moment(plan.starts_us).replace(tzinfo=None)],
        )
    return rows


class _Run:
    """One pass over the transactions that are not applied yet."""

    def __init__(self, connection: psycopg.Connection, position: Position, progress: Progress | None) -> None:
        self.connection, self.position, self.progress = connection, position, progress

    def go(self, transactions: Iterable[Transaction], until: datetime | None, speed: float | None) -> None:
        """Apply what is left, up to `until`."""
        end_us = None if until is None else _micros(until)
        pace = None if speed is None else _Pace(speed)
        batch: list[Transaction] = []
        rows = 0
        skip = self.position.transactions
        for number, one in enumerate(transactions, 1):
            if number <= skip:
                continue
            if end_us is not None and one.at_us >= end_us:
                break
            if batch and pace is not None and pace.wait_s(one.at_us) > 0:
                self._apply(batch)
                batch, rows = [], 0
            if pace is not None:
                pace.wait_for(one.at_us)
            batch.append(one)
            rows += one.rows
            if rows >= _BATCH_ROWS or len(batch) >= _BATCH_TRANSACTIONS:
                self._apply(batch)
                batch, rows = [], 0
        else:
            self._apply(batch)
            self._settle(finished=True)
            return
        self._apply(batch)
        self._settle(finished=False)

    def _settle(self, *, finished: bool) -> None:
        """Let everything be on the server's disk, so that who captures changes sees them."""
        self.connection.execute("SET synchronous_commit = on")
        self.connection.execute("UPDATE replay.position SET finished = %s", [finished])
        self.position = dataclasses.replace(self.position, finished=finished)

    def _apply(self, batch: list[Transaction]) -> None:
        at = self.position
        count, rows, reached = at.transactions, at.rows, at.reached
        parts: list[str] = []
        for one in batch:
            count, rows = count + 1, rows + one.rows
            reached = max(reached, _moment(one.at_us))
            stamp = reached.strftime("%Y-%m-%d %H:%M:%S.%f")
            parts.append(
                f"BEGIN;{one.statements};UPDATE replay.position SET transactions = {count}, rows = {rows},"  # noqa: S608
                f" reached = '{stamp}';COMMIT;"
            )
        try:
            self.connection.execute("".join(parts).encode())
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise ReplayError(
                f"The database refused a transaction of the plan after number {at.transactions}: {error}",
                remedy="Undo what others changed in this database, or begin anew with --again.",
            ) from error
        self.position = Position(at.plan, count, rows, reached, finished=False)
        if self.progress is not None:
            self.progress(reached.strftime("%Y-%m-%d %H:%M"), rows - at.rows)


class _Pace:
    """The plan's clock, which starts at the first transaction that it is asked about.

    Args:
        speed: Seconds of the plan that pass in a second.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._zero: tuple[float, int] | None = None

    def wait_s(self, at_us: int) -> float:
        """How long it still is until then."""
        if self._zero is None:
            self._zero = (time.monotonic(), at_us)
        began, first_us = self._zero
        return began + (at_us - first_us) / 1e6 / self.speed - time.monotonic()

    def wait_for(self, at_us: int) -> None:
        """Return when it is then."""
        left = self.wait_s(at_us)
        if left > 0:
            time.sleep(left)


def _micros(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
