"""PostgreSQL's streaming replication protocol: messages of a slot as they are committed, and answers.

One thread holds the connection: it takes what comes, and answers the server while the reader is busy with
what came before. Where the reader is slower, the thread stops to take; the server then waits, and is answered
all the same.

Source: PostgreSQL 18 documentation, 54.4 "Streaming Replication Protocol".
"""

import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import pq, sql

from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.connectors.postgres_slot import Feed, said, translated
from include.ingestion.pgoutput import CdcError, lsn_text
from include.ingestion.pgoutput.errors import broken

MIB = 2**20
# Of messages that wait for the reader; beyond it the server waits.
BUFFER_BYTES = 16 * MIB
# What the thread takes at once before it hands over, and what a message costs beside its bytes.
_SHARE_BYTES, _EACH_BYTES = MIB, 200
# Between two answers: a server whose log grows by what is not for us asks again at once after each.
_ANSWER_EVERY_S = 0.1
# The server ends the connection of whoever says nothing for wal_sender_timeout.
_BEAT_S = 10.0
# The server is asked to answer at each beat; one that does not for so long is gone.
_SILENCE_S = 60.0
_PATIENCE = "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'"
_STATUS = struct.Struct(">cqqqqB")
_EPOCH_S = 946_684_800
_DATA, _KEEPALIVE = ord("w"), ord("k")
_BEGIN, _COMMIT, _MESSAGE = ord("B"), ord("C"), ord("M")
# Kind, start, end and time stand before a message.
_HEADER_BYTES, _KEEPALIVE_BYTES = 25, 18


class Message(NamedTuple):
    """A message of pgoutput and its position."""

    lsn: int
    body: memoryview

    @property
    def ends_transaction(self) -> bool:
        """Whether it is a Commit."""
        return self.body[0] == _COMMIT


@dataclass(frozen=True)
class Taken:
    """Messages in order.

    Args:
        messages: At least one, unless none waits.
        rest: Whether more wait behind them.
        idle: Position up to which the log holds nothing more for us; 0 where that is not known.
    """

    messages: list[Message]
    rest: bool
    idle: int


def start(feed: Feed, lsn: int, session: dict[str, str]) -> "Receiver":
    """Hold the slot, and begin to receive what committed behind a position.

    Args:
        feed: What is read.
        lsn: How far main has it.
        session: Settings that say how values are written.

    Raises:
        SlotError: Somebody reads the slot now, or it cannot be read any more.
        DatabaseError: The server cannot be reached, or refused.
    """
    # The option is a list of identifiers, so the name is quoted in it a second time.
    publications = sql.Identifier(feed.publication).as_string(None).replace("'", "''")
    slot = sql.Identifier(feed.slot).as_string(None)
    options = f"proto_version '1', publication_names '{publications}', messages 'true'"
    command = f"START_REPLICATION SLOT {slot} LOGICAL {lsn_text(lsn)} ({options})"
    with translated(feed):
        connection = psycopg.connect(
            feed.dsn, autocommit=True, replication="database", application_name=f"headrace {feed.slot}"[:63]
        )
        try:
            for name, value in session.items():
                connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            patience = connection.execute(_PATIENCE).fetchone()
            assert patience is not None
            beat_s = min(_BEAT_S, int(patience[0]) / 3000 or _BEAT_S)
            _begin(feed, connection, command)
            connection.pgconn.nonblocking = 1
            return Receiver(feed, connection, beat_s)
        except BaseException:
            connection.close()
            raise


def _begin(feed: Feed, connection: psycopg.Connection[Any], command: str) -> None:
    begun = connection.pgconn.exec_(command.encode())
    if begun.status != pq.ExecStatus.COPY_BOTH:
        raise _refused(feed, begun)


class Receiver:
    """Receives in a thread of its own; all else is called by the reader, one call at a time."""

    def __init__(self, feed: Feed, connection: psycopg.Connection[Any], beat_s: float) -> None:
        self._feed, self._connection, self._beat_s = feed, connection, beat_s
        self.pid = connection.info.backend_pid
        # Of both: under the lock of `_changed`.
        self._changed = threading.Condition()
        self._messages: deque[Message] = deque()
        self._size = self._begins = self._idle = 0
        self._failed: Exception | None = None
        self._confirmed = 0
        self._asking = self._closing = False
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        # Of the thread.
        self._received = self._told = 0
        self._inside = self._asked = False
        self._unplaced: list[memoryview] = []
        self._heard = self._spoke = self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> int:
        """Position up to which the log holds nothing for us that was not taken; 0 where it does."""
        with self._changed:
            self._check()
            return 0 if self._messages else self._idle

    def ready(self, timeout_s: float, *, idle: int) -> bool:
        """Whether a transaction waits, or begins to, or the log is idle so far; waits for it at most so long.

        Raises:
            DatabaseError, CdcError: The stream has ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self._begins or self._idle >= idle, timeout_s)
            self._check()
            return self._begins > 0 or self._idle >= idle

    def more(self, timeout_s: float) -> None:
        """Wait for any message, at most so long.

        Raises:
            DatabaseError, CdcError: The stream has ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self._messages, timeout_s)
            self._check()

    def take(self, limit_bytes: int, *, bound: int) -> Taken:
        """Take what waits, in order.

        Args:
            limit_bytes: Take about so much at most.
            bound: Take nothing behind the first Commit from this position on.

        Raises:
            DatabaseError, CdcError: The stream has ended.
        """
        taken: list[Message] = []
        size = 0
        with self._changed:
            self._check()
            while self._messages and size < limit_bytes:
                message = self._messages.popleft()
                taken.append(message)
                size += len(message.body) + _EACH_BYTES
                self._begins -= message.body[0] == _BEGIN
                if message.lsn >= bound and message.ends_transaction:
                    break
            full = self._size >= BUFFER_BYTES
            self._size -= size
            rest, idle = bool(self._messages), self._idle
        if full:
            self._notify()
        return Taken(taken, rest, 0 if rest else idle)

    def confirm(self, lsn: int) -> None:
        """Let the server forget the log up to a position; it is told soon, at the latest on closing."""
        self._confirmed = max(self._confirmed, lsn)
        self._notify()

    def ask(self) -> None:
        """Let the server tell soon how far it is; `idle` has its answer."""
        self._asking = True
        self._notify()

    def close(self) -> None:
        """End the stream; the server lets go of the slot moments later."""
        self._closing = True
        self._notify()
        self._thread.join()
        self._connection.close()
        self._wake.close()
        self._waker.close()

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _notify(self) -> None:
        # Where it has not heard the ones before yet, it hears them all at once.
        with suppress(BlockingIOError):
            self._waker.send(b"!")

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
            self._speak(time.monotonic())
        except psycopg.Error as error:
            self._fail(said(self._feed, error.sqlstate or "", str(error)))
        except Exception as error:  # noqa: BLE001  # raised again where the reader asks
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failed = error
            self._changed.notify_all()

    def _turn(self) -> None:
        """Take what is there, say what is due, and sleep until there is something to do."""
        full = self._size >= BUFFER_BYTES
        more = not full and self._drain()
        now = time.monotonic()
        if full:
            self._heard = now
        elif now - self._heard > _SILENCE_S:
            raise said(self._feed, "", f"the stream of changes was silent for {_SILENCE_S:.0f} s")
        if now >= self._due():
            self._speak(now)
        unsent = self._connection.pgconn.flush() == 1
        wanted = (0 if full else select.POLLIN) | (select.POLLOUT if unsent else 0)
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if wanted:
            poll.register(self._connection.pgconn.socket, wanted)
        wait_s = 0.0 if more else max(self._due() - time.monotonic(), 0.0)
        for found, event in poll.poll(int(wait_s * 1000) + (wait_s > 0)):
            if found == self._wake.fileno():
                self._hear()
            elif event & ~select.POLLOUT and not full:
                self._connection.pgconn.consume_input()

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass

    def _due(self) -> float:
        """When something is to be said."""
        if self._confirmed > self._told or self._asking:
            return 0.0
        return min(self._beat + self._beat_s, self._spoke + _ANSWER_EVERY_S if self._asked else float("inf"))

    def _speak(self, now: float) -> None:
        """Tell how far things are received, and what main has by now, if that is news.

        Of what main has it is told once and no more: a server that shuts down waits until all that it sent is
        confirmed, or, by whoever confirms nothing, received. Main lags behind the log of other tables, so it
        would wait for ever.
        """
        if self._confirmed > self._told:
            self._told = self._confirmed
            self._say(self._told, wanted=False)
        wanted = self._asking or now >= self._beat + self._beat_s
        self._asking = False
        self._say(0, wanted=wanted)
        self._beat = now if wanted else self._beat
        self._spoke, self._asked = now, False
        self._connection.pgconn.flush()

    def _say(self, confirmed: int, *, wanted: bool) -> None:
        time_us = int((time.time() - _EPOCH_S) * 1_000_000)
        status = _STATUS.pack(b"r", self._received, confirmed, confirmed, time_us, wanted)
        self._connection.pgconn.put_copy_data(status)

    def _drain(self) -> bool:
        """Hand over what has arrived; whether there may be more."""
        pgconn, taken, size, begins, idle = self._connection.pgconn, [], 0, 0, self._idle
        while size < _SHARE_BYTES:
            count, view = pgconn.get_copy_data(1)
            if count == 0:
                break
            if count < 0:
                raise self._ended()
            self._heard = time.monotonic()
            if view[0] == _KEEPALIVE:
                self._keepalive(view)
                # Within a transaction it is a position before that one.
                idle = idle if self._inside or self._unplaced else self._received
                continue
            for message in self._placed(view):
                taken.append(message)
                size += len(message.body) + _EACH_BYTES
                begins += message.body[0] == _BEGIN
                idle = 0
        with self._changed:
            self._messages.extend(taken)
            self._size += size
            self._begins += begins
            self._idle = idle
            self._changed.notify_all()
        return size >= _SHARE_BYTES

    def _placed(self, view: memoryview) -> list[Message]:
        """The message, with those before it that came without a position: they have that of the next one."""
        if view[0] != _DATA or len(view) <= _HEADER_BYTES:
            raise broken(f"a message {bytes(view[:1])!r} of {len(view)} bytes is none of a stream")
        lsn, body = int.from_bytes(view[1:9], "big"), view[_HEADER_BYTES:]
        kind = body[0]
        self._inside = kind == _BEGIN or (self._inside and kind != _COMMIT)
        if kind == _MESSAGE and not self._inside:
            # It belongs to no transaction, so to no window, and nothing waits for it.
            return []
        if lsn == 0:
            self._unplaced.append(body)
            return []
        self._received = max(self._received, lsn)
        found = [Message(lsn, each) for each in (*self._unplaced, body)]
        self._unplaced = []
        return found

    def _keepalive(self, view: memoryview) -> None:
        if len(view) != _KEEPALIVE_BYTES:
            raise broken("a keepalive has not its length")
        self._received = max(self._received, int.from_bytes(view[1:9], "big"))
        self._asked = self._asked or bool(view[17])

    def _ended(self) -> CdcError | DatabaseError:
        result = self._connection.pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return _refused(self._feed, result)
        return said(self._feed, "", "the server ended the stream of changes")


def _refused(feed: Feed, result: pq.abc.PGresult) -> CdcError | DatabaseError:
    sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
    return said(feed, sqlstate.decode(), result.get_error_message())
