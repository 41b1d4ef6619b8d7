"""Changes of a PostgreSQL database as they are committed: the slot held open, in windows as of a read.

While a tail is held nobody else reads the slot, and the server sends each transaction when it commits. What
it may forget it is told by `confirm` only, with a position that main holds; so a tail that is lost at any
moment costs reading again. What it gave must be on main before it gives more: otherwise it is not where main
is, and is begun again there.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate
from time import monotonic
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from include.ingestion.connectors.postgres_cdc import (
    BATCH_BYTES,
    SESSION,
    WINDOW_BYTES,
    Window,
    catalogue,
    flushed,
)
from include.ingestion.connectors.postgres_receive import Message, Receiver, start
from include.ingestion.connectors.postgres_slot import Feed, check_slot, connected, wait_until_free
from include.ingestion.pgoutput import CdcError, Decoded, Decoder, LogPosition, TableShape, lsn_text

# Between two looks whether the stream still lives, while the rest of a transaction is waited for.
_REST_S = 1.0


class OutOfStep(CdcError):
    """The stream is not where main is: what it gave was refused, or another run was first. Begin it again."""


@contextmanager
def tailing(feed: Feed, position: LogPosition, *, longest_s: float, idle_bytes: int) -> Iterator["Tail"]:
    """Hold the slot, and receive what commits behind a position of main while the block lasts.

    Args:
        feed: What is read.
        position: How far main has it.
        longest_s: A window ends after so long with a transaction, even if others wait.
        idle_bytes: A log that grew by this much without a change for us is something to publish.

    Raises:
        SlotInUse: Somebody else reads the slot.
        SlotError: It is missing, invalidated, ahead of the position, or of another database.
        CdcError: The publication is missing, or was made again.
        DatabaseError: The server cannot be reached, refused, or broke off.
    """
    with connected(feed) as connection:
        check_slot(connection, feed, position)
        wait_until_free(connection, feed)
        receiver = start(feed, position.lsn, SESSION)
        try:
            # From here on nobody else can move it; the server would begin at what it is confirmed to.
            check_slot(connection, feed, position)
            tail = Tail(feed, connection, receiver, position, longest_s, idle_bytes)
            tail.confirm(position)
            yield tail
        finally:
            receiver.close()
            # Whoever reads the slot next waits for the server likewise.
            with suppress(psycopg.Error):
                _let_go(connection, feed, receiver.pid)


def _let_go(connection: psycopg.Connection[Any], feed: Feed, pid: int) -> None:
    """See that the server has let go of the slot: busy with a large transaction it does not look for long."""
    try:
        wait_until_free(connection, feed, pid)
    except CdcError:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with suppress(CdcError):
            wait_until_free(connection, feed, pid)


@dataclass
class Tail:
    """A stream that is held; see `tailing`.

    Args:
        feed: What is read.
        connection: For questions beside the stream.
        receiver: The stream.
        main: How far main has the log, as far as is known here.
        longest_s: See `tailing`.
        idle_bytes: See `tailing`.
    """

    feed: Feed
    connection: psycopg.Connection[Any]
    receiver: Receiver
    main: LogPosition
    longest_s: float
    idle_bytes: int
    # Behind which position of main the last window began, how far it went, and whether it was empty.
    _from: LogPosition = field(init=False)
    _given: LogPosition | None = field(init=False)
    _nothing: bool = True
    # Of the log, when it was asked whether main has all of it.
    _end: int = 0
    _decoder: Decoder | None = None

    def __post_init__(self) -> None:
        self._from = self._given = self.main

    def pending(self, wait_s: float = 0.0) -> bool:
        """Whether there is something to publish, after waiting for it at most so long.

        Raises:
            CdcError, DatabaseError: The stream has ended.
        """
        return self.receiver.ready(wait_s, idle=self.main.lsn + self.idle_bytes)

    def caught_up(self) -> bool:
        """Whether main has everything that was committed before this was first asked since the last window.

        Raises:
            CdcError, DatabaseError: The stream has ended.
        """
        # The log of other tables may grow all the time: its end at this moment is all that counts.
        self._end = self._end or flushed(self.connection)
        if self.receiver.ready(0, idle=self.main.lsn + self.idle_bytes):
            return False
        if max(self.receiver.idle, self.main.lsn) >= self._end:
            return True
        self.receiver.ask()
        return False

    def confirm(self, position: LogPosition) -> None:
        """Let the server forget the log up to a position that main holds.

        Args:
            position: Committed in the lake. Anything later would be lost if the lake lost its draft.

        Raises:
            OutOfStep: It is a position of another slot, cluster or publication.
        """
        if replace(position, lsn=self.main.lsn) != self.main:
            raise self._out_of_step(position)
        self.main = position
        self.receiver.confirm(position.lsn)

    def read(
        self,
        feed: Feed,
        position: LogPosition,
        *,
        known: Iterable[TableShape] = (),
        window_bytes: int = WINDOW_BYTES,
    ) -> Window:
        """What has arrived behind main's position, as `read_window` gives it; nothing if nothing has.

        The window ends with a transaction: when nothing more waits, or after `window_bytes` of log or
        `longest_s`, whichever is first. Memory is that of a few batches.

        Args:
            feed: The feed of this tail.
            position: Of main; what was given before is published, or held no change.
            known: Shapes as the lake knows them; others are reported.
            window_bytes: Of log to give at most, but for the last transaction.

        Raises:
            OutOfStep: Main is not where this stream goes on.
            CdcError, DatabaseError: As for `read_window`, and where the stream has ended.
        """
        assert feed == self.feed, feed.slot
        if position != self._given and not (position == self._from and self._nothing):
            raise self._out_of_step(position)
        if self._decoder is None:
            self._decoder = Decoder(catalogue(self.connection), after=position.lsn, known=known)
        window = Window(iter(()))
        window.changes = self._read(self._decoder, position, window_bytes, window)
        return window

    def _read(
        self, decoder: Decoder, position: LogPosition, window_bytes: int, window: Window
    ) -> Iterator[Decoded]:
        # Until all of it is taken, it is nothing that main could hold.
        self._from, self._given, self._nothing, self._end = position, None, False, 0
        until, bound = monotonic() + self.longest_s, position.lsn + window_bytes
        reached, nothing, within = position.lsn, True, False
        while True:
            bound = bound if monotonic() < until else 0
            taken = self.receiver.take(BATCH_BYTES, bound=bound)
            if taken.messages:
                decoded = decoder.decode(*arrays(taken.messages))
                within, nothing = decoded.within_transaction, nothing and not decoded.changes
                reached = max(reached, decoded.committed or 0)
                yield decoded
            if within:
                self.receiver.more(_REST_S)
            elif not taken.rest or taken.messages[-1].lsn >= bound:
                break
        self._given = replace(position, lsn=max(reached, taken.idle))
        self._nothing = nothing
        window.end(self._given, decoder.shapes)

    def _out_of_step(self, position: LogPosition) -> OutOfStep:
        return OutOfStep(
            f"The stream of slot {self.feed.slot!r} of {self.feed.name} does not go on at main's position, "
            f"{lsn_text(position.lsn)}.",
            remedy="Nothing is lost: begin the stream again at main's position.",
        )


def arrays(messages: Sequence[Message]) -> tuple[Any, pa.Array]:
    """Positions and messages as a `Decoder` takes them, shapes (n,)."""
    lsns = np.array([message.lsn for message in messages], np.int64)
    sizes = accumulate((len(message.body) for message in messages), initial=0)
    offsets = np.fromiter(sizes, np.int32, len(messages) + 1)
    content = b"".join([message.body for message in messages])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    return lsns, pa.Array.from_buffers(pa.binary(), len(messages), buffers)
