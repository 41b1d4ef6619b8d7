"""Changes of a PostgreSQL database from a replication slot, in bounded bulk reads.

The slot remembers for us what the lake does not have yet, so nothing here moves it except `advance`, with a
position that the caller has published. A read only peeks: dying at any moment costs reading again. What was
published and is read again, because the slot was not advanced yet, is left out by its commit position.

Source: PostgreSQL 18 documentation, 47 "Logical Decoding", 9.28.6 "Replication Management Functions".
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import adbc_driver_manager
import numpy as np
import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg import sql

from include.ingestion.ahead import ahead
from include.ingestion.connectors.postgres_slot import Feed, check_slot, connected, said, slot_error
from include.ingestion.pgoutput import Decoded, Decoder, LogPosition, PgType, TableShape, lsn_text, parse_lsn

MIB = 2**20
# Of log that one read decodes: the server holds its result until it is fetched, beyond work_mem on disk.
WINDOW_BYTES = 512 * MIB
# Of messages that are decoded at once; what they become is about as large again.
BATCH_BYTES = 16 * MIB
# The text forms that the decoder reads, whatever the database or the role has set.
SESSION = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # Of one transaction that the server holds in memory before it spills to disk and reads it back: its
    # default, 64 MB, makes a transaction of a million rows three times as expensive.
    "logical_decoding_work_mem": "256MB",
}
_TYPES = """
    WITH RECURSIVE wanted(oid) AS (
        SELECT unnest(%s::oid[])
        UNION
        SELECT part FROM wanted JOIN pg_type t USING (oid), unnest(ARRAY[t.typbasetype, t.typelem]) part
        WHERE part <> 0
    )
    SELECT t.oid::bigint, CASE n.nspname WHEN 'pg_catalog' THEN '' ELSE n.nspname || '.' END || t.typname,
        t.typbasetype::bigint, t.typtypmod,
        CASE WHEN t.typoutput = 'array_out'::regproc THEN t.typelem::bigint ELSE 0 END
    FROM wanted JOIN pg_type t USING (oid) JOIN pg_namespace n ON n.oid = t.typnamespace
"""


@dataclass
class Window:
    """One bounded read of the log: iterate it once, then ask how far it went.

    Args:
        changes: The decoded batches, in order of the log.
    """

    changes: Iterator[Decoded]
    _reached: LogPosition | None = None
    _shapes: tuple[TableShape, ...] = ()

    def __iter__(self) -> Iterator[Decoded]:
        return self.changes

    def end(self, reached: LogPosition, shapes: tuple[TableShape, ...]) -> None:
        """All of it was read: so far, and with these tables."""
        self._reached, self._shapes = reached, shapes

    @property
    def position(self) -> LogPosition:
        """How far the log is read once all batches are taken; what to publish with them."""
        assert self._reached is not None, "a window has a position only when all of it was read"
        return self._reached

    @property
    def shapes(self) -> tuple[TableShape, ...]:
        """Tables as they were last seen; what the next window is to know."""
        assert self._reached is not None, "a window has shapes only when all of it was read"
        return self._shapes


class ReadWindow(Protocol):
    """Gives the window behind a position, by whichever way it comes; see `read_window`."""

    def __call__(
        self, feed: Feed, position: LogPosition, *, known: Iterable[TableShape], window_bytes: int
    ) -> Window:
        """The window."""
        ...


def read_window(
    feed: Feed,
    position: LogPosition,
    *,
    known: Iterable[TableShape] = (),
    window_bytes: int = WINDOW_BYTES,
    batch_bytes: int = BATCH_BYTES,
) -> Window:
    """Read what was committed behind a position, up to about `window_bytes` of log, without moving the slot.

    Transactions are whole: the last may reach beyond the window, however large, and is given in parts. Where
    the window ends within a transaction that is still open or larger than it, the window grows until there
    is something to give or the log ends. Memory is that of a few batches.

    Args:
        feed: What is read.
        position: How far the lake has it; changes up to there are left out.
        known: Shapes as the lake knows them; others are reported.
        window_bytes: Of log to read at most, but for the last transaction.
        batch_bytes: Of messages to decode at once.

    Raises:
        SlotError: The slot is missing, invalidated, ahead of the position, in use, or of another database.
        DatabaseError: The server broke off.
        ProtocolError: The stream is not what was asked for.
        UnsupportedType: A table has a column that cannot be kept.
    """
    window = Window(iter(()))
    # The server sends, we decode and the caller writes, all at once.
    window.changes = ahead(_read(feed, position, known, window_bytes, batch_bytes, window))
    return window


def _read(
    feed: Feed,
    position: LogPosition,
    known: Iterable[TableShape],
    window_bytes: int,
    batch_bytes: int,
    window: Window,
) -> Iterator[Decoded]:
    with connected(feed) as connection:
        check_slot(connection, feed, position)
        decoder = Decoder(catalogue(connection), after=position.lsn, known=known)
        size = window_bytes
        while True:
            end = flushed(connection)
            bound = min(position.lsn + size, end)
            anything = False
            last: Decoded | None = None
            for lsns, messages in ahead(_peek(feed, bound, batch_bytes)):
                anything = True
                last = decoder.decode(lsns, messages)
                yield last
            if anything or bound >= end:
                break
            size *= 2
    if last is not None and last.within_transaction:
        raise slot_error(feed, "ended within a transaction", "Read again; the slot was not moved.")
    committed = last.committed if last is not None and last.committed is not None else 0
    window.end(replace(position, lsn=max(position.lsn, bound, committed)), decoder.shapes)


def _peek(feed: Feed, bound: int, batch_bytes: int) -> Iterator[tuple[Any, pa.Array]]:
    """Positions and messages of everything that committed up to a bound."""
    statement = sql.SQL(
        "SELECT lsn, data FROM pg_logical_slot_peek_binary_changes({}, {}::pg_lsn, NULL, "
        "'proto_version', '1', 'publication_names', {}, 'messages', 'true')"
    ).format(
        sql.Literal(feed.slot),
        sql.Literal(lsn_text(bound)),
        # The option is a list of identifiers, so the name is quoted in it a second time.
        sql.Literal(sql.Identifier(feed.publication).as_string(None)),
    )
    try:
        with dbapi.connect(feed.dsn, autocommit=True) as connection, connection.cursor() as cursor:
            for name, value in SESSION.items():
                cursor.execute(f"SET {name} = {sql.Literal(value).as_string(None)}")
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)})
            cursor.execute(statement.as_string(None))
            for batch in cursor.fetch_record_batch():
                if batch.num_rows:
                    yield _integers(batch.column(0)), batch.column(1)
    except adbc_driver_manager.Error as error:
        raise said(feed, error.sqlstate or "", str(error)) from None
    except pa.ArrowException as error:
        # What the server says while rows are fetched arrives through Arrow, without its code.
        raise said(feed, "55006" if "is active for PID" in str(error) else "", str(error)) from None


def _integers(lsns: pa.Array) -> Any:
    """Positions from the eight bytes, big-endian, that the server sends of each."""
    storage = getattr(lsns, "storage", lsns)
    assert storage.type == pa.binary(), storage.type
    assert storage.null_count == 0
    start = int(np.frombuffer(storage.buffers()[1], np.int32)[storage.offset])
    content = np.frombuffer(storage.buffers()[2], np.uint8)[start : start + 8 * len(storage)]
    return content.view(">i8").astype(np.int64)


def advance(feed: Feed, position: LogPosition) -> None:
    """Let the server forget the log up to a position that the lake holds; again does nothing.

    Args:
        feed: What is read.
        position: Committed in the lake. Anything later would be lost if the lake lost its draft.

    Raises:
        SlotError: As for `read_window`.
        DatabaseError: The server broke off.
    """
    with connected(feed) as connection:
        slot = check_slot(connection, feed, position)
        if slot.confirmed < position.lsn:
            connection.execute(
                "SELECT pg_replication_slot_advance(%s, %s)", (feed.slot, lsn_text(position.lsn))
            )


def flushed(connection: psycopg.Connection[Any]) -> int:
    """Where the log ends now."""
    row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return parse_lsn(row[0])


def catalogue(connection: psycopg.Connection[Any]) -> Any:
    """The types of a database, as a `Decoder` asks for them."""

    def types(oids: Collection[int]) -> Mapping[int, PgType]:
        rows = connection.execute(_TYPES, (sorted(oids),)).fetchall()
        return {row[0]: PgType(*row) for row in rows}

    return types
