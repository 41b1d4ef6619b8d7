"""Positions in PostgreSQL's log: integers inside, PostgreSQL's own spelling outside."""

import re
from dataclasses import dataclass

from include.ingestion.pgoutput.errors import CdcError
from include.spec.refs import Position

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_POSITION = re.compile(r"([0-9A-Fa-f/]+)@([a-z0-9_]{1,63})@(\d{1,20})@(\d{1,10})")


def lsn_text(lsn: int) -> str:
    """`X/Y`, as PostgreSQL prints it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The position of `X/Y`.

    Raises:
        CdcError: It is not of that form.
    """
    matched = _LSN.fullmatch(text)
    if matched is None:
        raise CdcError(f"{text!r} is no position in a log.", remedy="Accepted: two hexadecimal numbers, X/Y.")
    return int(matched[1], 16) << 32 | int(matched[2], 16)


@dataclass(frozen=True)
class LogPosition:
    """How far a database's log was read: every transaction that committed before `lsn` is included.

    The same LSN means something else in another database cluster, to another slot, and to a publication that
    was made again: all are part of it.

    Args:
        lsn: The position.
        slot: Replication slot that it belongs to.
        system: System identifier of the database cluster.
        publication: Number of the publication in the catalogue.
    """

    lsn: int
    slot: str
    system: str
    publication: int

    @property
    def position(self) -> Position:
        """As it is kept in the watermark of a source: `X/Y@slot@system@publication`."""
        return Position(
            kind="lsn", value=f"{lsn_text(self.lsn)}@{self.slot}@{self.system}@{self.publication}"
        )

    @classmethod
    def of(cls, position: Position) -> "LogPosition":
        """The position that a watermark holds.

        Raises:
            CdcError: The watermark holds something else.
        """
        matched = _POSITION.fullmatch(position.value)
        if position.kind != "lsn" or matched is None:
            raise CdcError(
                f"The watermark {position.kind} {position.value!r} is no position in a log.",
                remedy="Accepted: kind lsn, value X/Y@slot@system@publication.",
            )
        return cls(parse_lsn(matched[1]), matched[2], matched[3], int(matched[4]))
