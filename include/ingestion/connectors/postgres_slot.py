"""Publication and replication slot: made once, checked at every use, never made again by themselves.

A slot is the source's promise to keep its log. Where it is missing or not ours any more, changes may be lost
for good; then the only remedy is a new snapshot, and a person decides that. Every doubt is an error.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.pgoutput.errors import CdcError
from include.ingestion.pgoutput.lsn import LogPosition, lsn_text, parse_lsn

PLUGIN = "pgoutput"
# How long the reader before us may take to be gone; the server looks only now and then.
RELEASE_S, RELEASE_POLL_S = 3.0, 0.02
_ANEW = "Changes may be lost: `headrace cdc reset` loads the tables anew, from a new slot."
_SLOT = """
    SELECT s.plugin, s.database, s.wal_status, s.invalidation_reason, s.active_pid,
        s.confirmed_flush_lsn::text, s.restart_lsn::text, s.safe_wal_size, s.temporary,
        pg_current_wal_flush_lsn()::text, current_database(),
        (SELECT system_identifier::text FROM pg_control_system()),
        (SELECT oid::bigint FROM pg_publication WHERE pubname = %s)
    FROM (SELECT %s::name AS wanted) w LEFT JOIN pg_replication_slots s ON s.slot_name = w.wanted
"""
_READER = """
    SELECT s.active_pid, a.application_name
    FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
    WHERE s.slot_name = %s AND s.active_pid IS NOT NULL
"""


class SlotError(CdcError):
    """The slot does not hold what the lake lacks, or cannot be read now."""


class SlotInUse(SlotError):
    """Somebody else reads the slot now."""


@dataclass(frozen=True)
class Feed:
    """What is read: a publication through a slot.

    Args:
        dsn: Connection string, with its password; appears in no error.
        name: How errors call the database.
        publication: Says which tables, operations, columns and rows.
        slot: Remembers how far they were read; one reader's own.
    """

    dsn: str = field(repr=False)
    name: str
    publication: str
    slot: str


@dataclass(frozen=True)
class SlotState:
    """A slot as the server has it.

    Args:
        confirmed: Position up to which the server has forgotten the changes.
        restart: Position from which it still keeps the log.
        end: Where the log ends now.
        wal_status: `reserved`, `extended` or `unreserved`; `lost` is an error.
        safe_bytes: Of log that may still be written before the slot is in danger; None for no limit.
        system: System identifier of the database cluster.
        publication: Number of the publication in the catalogue.
    """

    confirmed: int
    restart: int
    end: int
    wal_status: str
    safe_bytes: int | None
    system: str
    publication: int

    @property
    def behind_bytes(self) -> int:
        """Of log that was written since the last change that the lake confirmed."""
        return max(self.end - self.confirmed, 0)

    @property
    def retained_bytes(self) -> int:
        """Of log that the server keeps on its disk for this slot."""
        return max(self.end - self.restart, 0)


@dataclass(frozen=True)
class NewSlot:
    """A slot that was just made, and the instant it begins at.

    Args:
        position: Changes that commit from here on are in the slot.
        snapshot: Name of the exported snapshot that holds everything before; gone when the block ends.
    """

    position: LogPosition
    snapshot: str


def create_publication(feed: Feed, tables: Sequence[tuple[str, str]]) -> None:
    """Publish tables, a partitioned one as the one table that it is.

    Args:
        feed: Names the publication.
        tables: Schema and name of each.

    Raises:
        DatabaseError: The server refused; the role must own the tables.
    """
    names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
    statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
    with connected(feed) as connection:
        connection.execute(statement.format(sql.Identifier(feed.publication), names))


@contextmanager
def create_slot(feed: Feed) -> Iterator[NewSlot]:
    """Make the slot, and hold the instant that it begins at open for reading while the block lasts.

    Whoever reads the tables in the snapshot and then the slot from its position has every row once. If the
    block fails the slot is dropped: without the snapshot it would be a promise that nobody can use.

    Raises:
        SlotError: There is one of that name.
        CdcError: There is no publication; a slot that is older than its publication cannot be read.
        DatabaseError: The server refused.
    """
    with connected(feed) as connection:
        row = _row(connection, feed)
        if row[0] is not None:
            raise slot_error(
                feed,
                "exists already",
                "If the lake holds a position of it, read on from there; if an earlier first load died "
                "before it was published, drop the slot (drop_slot) and begin again.",
            )
        system, publication = str(row[-2]), _publication(feed, row[-1])
    replication, made = _created(feed)
    try:
        # Any further command on this connection would end the snapshot.
        yield NewSlot(LogPosition(parse_lsn(made[1]), feed.slot, system, publication), str(made[2]))
    except BaseException:
        replication.close()
        drop_slot(feed)
        raise
    finally:
        replication.close()


def _created(feed: Feed) -> tuple[psycopg.Connection[Any], tuple[Any, ...]]:
    command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL {} (SNAPSHOT 'export')").format(
        sql.Identifier(feed.slot), sql.Identifier(PLUGIN)
    )
    with translated(feed):
        connection = psycopg.connect(feed.dsn, autocommit=True, replication="database")
        try:
            made = connection.execute(command).fetchone()
        except BaseException:
            connection.close()
            raise
    assert made is not None
    return connection, made


def drop_slot(feed: Feed) -> None:
    """Drop the slot: the server forgets what was not read; without one it does nothing.

    Raises:
        DatabaseError: The server refused, as it does while somebody reads it.
    """
    with connected(feed) as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            (feed.slot,),
        )


def slot_state(feed: Feed, position: LogPosition | None = None) -> SlotState:
    """The slot, checked; without a position only for what it is.

    Raises:
        SlotError: See `check_slot`.
        DatabaseError: The server cannot be asked.
    """
    with connected(feed) as connection:
        return check_slot(connection, feed, position)


def check_slot(connection: psycopg.Connection[Any], feed: Feed, position: LogPosition | None) -> SlotState:
    """Make sure that the slot still holds every change behind a position of the lake.

    Args:
        connection: To the database.
        feed: Names the slot.
        position: How far the lake has it.

    Raises:
        SlotError: The slot is missing, of another kind or database, invalidated, or moved beyond the
            position; or the position is of another cluster or slot, or beyond the end of the log.
        CdcError: The publication is missing, or was made again.
    """
    row = _row(connection, feed)
    plugin, database, wal_status, reason, _, confirmed, restart, safe, temporary, end, here = row[:11]
    if plugin is None:
        raise slot_error(feed, "does not exist", f"It was dropped, or the server failed over. {_ANEW}")
    if plugin != PLUGIN or database != here or temporary:
        kind = "temporary " if temporary else ""
        what = f"is a {kind}slot for {plugin} on the database {database!r}"
        raise slot_error(feed, what, f"Accepted: a lasting slot for {PLUGIN} on {here!r}. Name another.")
    if wal_status == "lost" or reason is not None:
        raise slot_error(feed, f"was invalidated ({reason or 'wal_status lost'})", _ANEW)
    system, publication = row[11], _publication(feed, row[12])
    state = SlotState(
        parse_lsn(confirmed), parse_lsn(restart), parse_lsn(end), wal_status, safe, system, publication
    )
    if position is not None:
        _check_position(feed, state, position)
    return state


def _check_position(feed: Feed, state: SlotState, position: LogPosition) -> None:
    at = lsn_text(position.lsn)
    if position.slot != feed.slot or position.system != state.system:
        raise slot_error(
            feed,
            f"on the cluster {state.system} is not the one that the lake's position is of: "
            f"slot {position.slot!r} on the cluster {position.system}",
            f"The database is another one, such as a copy or a restored backup. {_ANEW}",
        )
    if position.publication != state.publication:
        raise CdcError(
            f"Publication {feed.publication!r} of {feed.name} is not the one that the lake's position is of.",
            remedy=f"It was dropped and made again: what changed between is in no publication. {_ANEW}",
        )
    if position.lsn > state.end:
        raise slot_error(
            feed,
            f"is behind the lake: the log ends at {lsn_text(state.end)}, the lake holds {at}",
            f"The server lost the end of its log, as in a failover or a restored backup. {_ANEW}",
        )
    if state.confirmed > position.lsn:
        raise slot_error(
            feed,
            f"begins at {lsn_text(state.confirmed)}, the lake holds changes only up to {at}",
            f"It was made again, or somebody else reads it. {_ANEW}",
        )


def _publication(feed: Feed, found: int | None) -> int:
    """The publication's number. PostgreSQL 18 only warns where there is none, and gives no changes."""
    if found is None:
        raise CdcError(
            f"Publication {feed.publication!r} of {feed.name} does not exist.",
            remedy=f"It must be there before the slot. Where it was: {_ANEW}",
        )
    return found


def _row(connection: psycopg.Connection[Any], feed: Feed) -> tuple[Any, ...]:
    row = connection.execute(_SLOT, (feed.publication, feed.slot)).fetchone()
    assert row is not None
    return tuple(row)


def slot_error(feed: Feed, what: str, remedy: str) -> SlotError:
    """The error for a slot."""
    return SlotError(f"Slot {feed.slot!r} of {feed.name} {what}.", remedy=remedy)


def in_use(feed: Feed, who: str) -> SlotInUse:
    """The error for a slot that somebody else reads."""
    return SlotInUse(
        f"Slot {feed.slot!r} of {feed.name} is in use: somebody follows it, or reads a window.",
        remedy=f"One reader at a time: leave the changes to the other one, or end it ({who}).",
    )


def wait_until_free(connection: psycopg.Connection[Any], feed: Feed, pid: int | None = None) -> None:
    """Wait until nobody reads the slot: the server takes moments to notice that a reader has gone.

    Args:
        connection: To the database.
        feed: Names the slot.
        pid: Wait for this reader only; for any by default.

    Raises:
        SlotInUse: Somebody reads it, and goes on.
    """
    deadline = time.monotonic() + RELEASE_S
    while True:
        reader = connection.execute(_READER, (feed.slot,)).fetchone()
        if reader is None or reader[0] != (pid or reader[0]):
            return
        if time.monotonic() > deadline:
            raise in_use(feed, f"PID {reader[0]}, {reader[1] or 'without a name'}")
        time.sleep(RELEASE_POLL_S)


@contextmanager
def connected(feed: Feed) -> Iterator[psycopg.Connection[Any]]:
    """A connection on which each statement is a transaction of its own.

    Raises:
        SlotError: Somebody reads the slot now, or it cannot be read any more.
        DatabaseError: The server cannot be reached, or refused.
    """
    with translated(feed), psycopg.connect(feed.dsn, autocommit=True) as connection:
        yield connection


@contextmanager
def translated(feed: Feed) -> Iterator[None]:
    """Errors of the driver are ours when the block ends.

    Raises:
        SlotError, DatabaseError: As for `connected`.
    """
    try:
        yield
    except psycopg.Error as error:
        raise said(feed, error.sqlstate or "", str(error)) from None


def said(feed: Feed, sqlstate: str, message: str) -> CdcError | DatabaseError:
    """The error for what the server said, without the statement and never with the connection string."""
    first = (message.strip() or "no answer").splitlines()[0]
    if sqlstate == "55006":
        return in_use(feed, first)
    if sqlstate == "55000" and "slot" in first:
        return slot_error(feed, f"cannot be read: {first}", _ANEW)
    return DatabaseError(
        f"Database {feed.name} could not be read: {first}",
        remedy="See that it runs and that its connection string (HEADRACE_*_DSN) is right.",
        database=feed.name,
    )
