"""Tells when there is something to capture, at the cost of one small query while there is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from include.ingestion.connectors.postgres_slot import Feed, connected, said
from include.ingestion.pgoutput import LogPosition, lsn_text, parse_lsn
from include.spec.refs import Position

_PEEK = """
    SELECT EXISTS (SELECT FROM pg_logical_slot_peek_binary_changes(
        %s, %s::pg_lsn, 1, 'proto_version', '1', 'publication_names', %s))
"""


@contextmanager
def watching(feed: Feed, *, idle_bytes: int) -> Iterator["SlotWatch"]:
    """Watch for changes on one connection while the block lasts.

    Args:
        feed: What is read.
        idle_bytes: A log that grew by this much is something to capture, whatever is in it.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connected(feed) as connection:
        yield SlotWatch(feed, connection, idle_bytes)


@dataclass
class SlotWatch:
    """A watch; see `watching`."""

    feed: Feed
    connection: psycopg.Connection[Any]
    idle_bytes: int
    _seen: int = 0

    def pending(self, position: Position) -> bool:
        """Whether anything that the publication brings has committed since the slot was last advanced.

        Args:
            position: What main holds, and the slot was advanced to.

        Raises:
            SlotError: The slot cannot be read, or somebody reads it now.
            DatabaseError: The server broke off.
        """
        at = LogPosition.of(position).lsn
        try:
            end = self._end()
            if end <= max(at, self._seen):
                return False
            if end - at >= self.idle_bytes or self._holds_changes(end):
                return True
        except psycopg.Error as error:
            raise said(self.feed, error.sqlstate or "", str(error)) from None
        # All of the log up to here is of others: it is not decoded again before it grows.
        self._seen = end
        return False

    def _end(self) -> int:
        row = self.connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        return parse_lsn(row[0])

    def _holds_changes(self, end: int) -> bool:
        quoted = sql.Identifier(self.feed.publication).as_string(None)
        row = self.connection.execute(_PEEK, (self.feed.slot, lsn_text(end), quoted)).fetchone()
        assert row is not None
        return bool(row[0])
