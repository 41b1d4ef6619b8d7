"""The messages that are rare, read one by one: Relation, Type, Truncate and logical messages."""

import struct
from dataclasses import dataclass

from include.ingestion.pgoutput.errors import broken
from include.ingestion.pgoutput.shape import Identity

_IDENTITIES: dict[bytes, Identity] = {b"d": "default", b"n": "nothing", b"f": "full", b"i": "index"}


@dataclass(frozen=True)
class RelationMessage:
    """A table as it is from here on.

    Args:
        relation_id: Its number in the catalogue.
        schema_name: Its schema.
        table: Its name.
        identity: Its replica identity.
        columns: Name, type number, type modifier, and whether it is part of the identity; in order.
    """

    relation_id: int
    schema_name: str
    table: str
    identity: Identity
    columns: tuple[tuple[str, int, int, bool], ...]


@dataclass(frozen=True)
class TypeMessage:
    """The name of a type that is not built in."""

    oid: int
    name: str


@dataclass(frozen=True)
class TruncateMessage:
    """Tables that were emptied at once.

    Args:
        relation_ids: Their numbers.
        cascade: Whether CASCADE was said.
        restart_identity: Whether RESTART IDENTITY was said.
    """

    relation_ids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True)
class LogicalMessage:
    """What somebody wrote into the log with `pg_logical_emit_message`.

    Args:
        lsn: Where.
        transactional: Whether it belongs to a transaction, which then has committed.
        prefix: Says whose it is.
        content: The message.
    """

    lsn: int
    transactional: bool
    prefix: str
    content: bytes


class _Reader:
    """Reads one message from its second byte on, and sees to it that nothing is left."""

    def __init__(self, message: bytes) -> None:
        self._message, self._at = message, 1

    def number(self, form: str) -> int:
        try:
            (value,) = struct.unpack_from(form, self._message, self._at)
        except struct.error:
            raise self._short() from None
        self._at += struct.calcsize(form)
        return int(value)

    def take(self, length: int) -> bytes:
        value = self._message[self._at : self._at + length]
        if length < 0 or len(value) != length:
            raise self._short()
        self._at += length
        return value

    def text(self) -> str:
        end = self._message.find(b"\0", self._at)
        if end < 0:
            raise self._short()
        value, self._at = self._message[self._at : end], end + 1
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise broken(f"a name is not UTF-8: {value!r}") from None

    def end(self) -> None:
        if self._at != len(self._message):
            raise broken(
                f"a message {self._message[:1]!r} has {len(self._message) - self._at} bytes too many"
            )

    def _short(self) -> Exception:
        return broken(f"a message {self._message[:1]!r} ends too early")


def relation_message(message: bytes) -> RelationMessage:
    """Read a message `R`.

    Raises:
        ProtocolError: It is not as documented.
    """
    reader = _Reader(message)
    relation_id = reader.number(">I")
    # An empty name stands for pg_catalog.
    schema_name, table = reader.text() or "pg_catalog", reader.text()
    identity = _IDENTITIES.get(reader.take(1))
    if identity is None:
        raise broken(f"{schema_name}.{table} has an unknown replica identity")
    columns = []
    for _ in range(reader.number(">h")):
        flags, name = reader.number(">B"), reader.text()
        columns.append((name, reader.number(">I"), reader.number(">i"), bool(flags & 1)))
    reader.end()
    return RelationMessage(relation_id, schema_name, table, identity, tuple(columns))


def type_message(message: bytes) -> TypeMessage:
    """Read a message `Y`.

    Raises:
        ProtocolError: It is not as documented.
    """
    reader = _Reader(message)
    oid, schema_name, name = reader.number(">I"), reader.text(), reader.text()
    reader.end()
    return TypeMessage(oid, f"{schema_name}.{name}" if schema_name else name)


def truncate_message(message: bytes) -> TruncateMessage:
    """Read a message `T`.

    Raises:
        ProtocolError: It is not as documented.
    """
    reader = _Reader(message)
    count, options = reader.number(">i"), reader.number(">B")
    tables = tuple(reader.number(">I") for _ in range(count))
    reader.end()
    return TruncateMessage(tables, bool(options & 1), bool(options & 2))


def logical_message(message: bytes) -> LogicalMessage:
    """Read a message `M`.

    Raises:
        ProtocolError: It is not as documented.
    """
    reader = _Reader(message)
    flags, lsn, prefix = reader.number(">B"), reader.number(">Q"), reader.text()
    content = reader.take(reader.number(">i"))
    reader.end()
    return LogicalMessage(lsn, bool(flags & 1), prefix, content)
