"""The two kinds of chunk that a tree is made of, how they are written, and where they are cut.

A range holds the entries of a stretch of paths, column by column, so that comparing two ranges needs
paths and identities only and an entry is decoded when somebody asks for it. A metarange lists the
ranges. Both are named by the hash of their content.

Source: lakeFS, "Versioning internals": Graveler's ranges and metaranges.
"""

import bisect
import hashlib
import threading
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias
from zlib import crc32

import msgspec
import zstandard

from include.stack.lakefs.model import Entry, LakeError

IDENTITY_BYTES = 16
RANGE_MIN_COUNT = 128
RANGE_MAX_COUNT = 4096
_CUT_BELOW = 2**32 // 512  # one path in 512 ends a range: 640 entries on average
_KNUTH = 2654435761  # spreads crc32, which is linear, so that numbered paths do not fall into step

encoder = msgspec.msgpack.Encoder(order="deterministic")
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_local = threading.local()


class Row(msgspec.Struct, frozen=True, gc=False):
    """An entry as trees and staging areas hold it: undecoded, with what it is compared by."""

    path: str
    identity: bytes
    record: bytes

    def entry(self) -> Entry:
        """Decode the entry."""
        return _entry_decoder.decode(self.record)


Edit: TypeAlias = tuple[str, Row | None]
"""A path and what to put there, or None to delete it."""


class Range(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """A stretch of at least one entry in order of path, as four columns.

    No column but the paths has an object per entry, so that a range is quick to read and a cache full
    of them is nothing to the garbage collector.

    Args:
        paths: The paths.
        identities: What entries are compared by, `IDENTITY_BYTES` each.
        lengths: Length of each record in bytes.
        records: The encoded entries, one after the other.
    """

    paths: tuple[str, ...]
    identities: bytes
    lengths: tuple[int, ...]
    records: bytes

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Where each record ends in `records`, after a 0."""
        return tuple(accumulate(self.lengths, initial=0))

    def index(self, path: str, start: int = 0) -> int:
        """Return where a path is or would be, at or after an index."""
        return bisect.bisect_left(self.paths, path, start)

    def identity(self, at: int) -> bytes:
        """Return the identity at an index."""
        return self.identities[at * IDENTITY_BYTES : (at + 1) * IDENTITY_BYTES]

    def row(self, at: int) -> Row:
        """Return the entry at an index."""
        return Row(self.paths[at], self.identity(at), self.records[self.ends[at] : self.ends[at + 1]])

    def find(self, path: str) -> Row | None:
        """Return the entry at a path."""
        at = self.index(path)
        return self.row(at) if at < len(self.paths) and self.paths[at] == path else None

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Yield the entries from an index on."""
        return map(self.row, range(start, len(self.paths)))

    def part(self, start: int, stop: int) -> "Range":
        """Return the entries from one index up to another."""
        return Range(
            self.paths[start:stop],
            self.identities[start * IDENTITY_BYTES : stop * IDENTITY_BYTES],
            self.lengths[start:stop],
            self.records[self.ends[start] : self.ends[stop]],
        )

    def identity_of(self) -> dict[str, bytes]:
        """Return all identities by path."""
        return {path: self.identity(at) for at, path in enumerate(self.paths)}


class Columns:
    """A range being written: entries are added at its end and ranges taken from its front."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._identities = bytearray()
        self._lengths: list[int] = []
        self._records = bytearray()

    def append(self, row: Row) -> None:
        """Add an entry."""
        self.paths.append(row.path)
        self._identities += row.identity
        self._lengths.append(len(row.record))
        self._records += row.record

    def extend(self, entries: "Range | Columns") -> None:
        """Add many entries."""
        self.paths += entries.paths
        if isinstance(entries, Columns):
            self._identities += entries._identities
            self._lengths += entries._lengths
            self._records += entries._records
        else:
            self._identities += entries.identities
            self._lengths += entries.lengths
            self._records += entries.records

    def take(self, count: int) -> Range:
        """Remove so many entries from the front and return them."""
        lengths = tuple(self._lengths[:count])
        identities_end, records_end = count * IDENTITY_BYTES, sum(lengths)
        taken = Range(
            tuple(self.paths[:count]),
            bytes(self._identities[:identities_end]),
            lengths,
            bytes(self._records[:records_end]),
        )
        del self.paths[:count], self._lengths[:count]
        del self._identities[:identities_end], self._records[:records_end]
        return taken


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a metarange tells of a range.

    Args:
        id: Hash of the range.
        first: Its first path.
        last: Its last path.
        count: Number of its entries.
        size_bytes: Length of its body, uncompressed.
    """

    id: bytes
    first: str
    last: str
    count: int
    size_bytes: int


class Metarange(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """All ranges of a tree in order."""

    lines: list[Line] = []

    @cached_property
    def lasts(self) -> list[str]:
        """The last path of each range."""
        return [line.last for line in self.lines]

    @cached_property
    def ids(self) -> frozenset[bytes]:
        """The ids of all ranges."""
        return frozenset(line.id for line in self.lines)


range_decoder = msgspec.msgpack.Decoder(Range)
metarange_decoder = msgspec.msgpack.Decoder(Metarange)


def identity(entry: Entry) -> bytes:
    """Return what makes two entries the same object, of fixed length: size, checksum, metadata, type."""
    parts = (entry.size_bytes, entry.checksum, entry.metadata, entry.content_type)
    return hashlib.blake2b(encoder.encode(parts), digest_size=IDENTITY_BYTES).digest()


def row_of(entry: Entry) -> Row:
    """Return the entry as trees hold it."""
    return Row(entry.path, identity(entry), encoder.encode(entry))


def cuts(paths: list[str], scanned: int) -> Iterator[int]:
    """Yield where ranges end in a list of paths that starts after a cut: the index after each last path.

    Whether a range ends at a path depends on that path and on how many lie before it in the range. So
    whatever edits led to it, a tree is cut where one written afresh would be, and an edit moves no
    cuts but those around it.

    Args:
        paths: In order.
        scanned: So many were looked at before and no range ends at them.
    """
    begin = 0
    for at in range(scanned, len(paths)):
        count = at + 1 - begin
        if count < RANGE_MIN_COUNT:
            continue
        if crc32(paths[at].encode()) * _KNUTH & 0xFFFFFFFF < _CUT_BELOW or count >= RANGE_MAX_COUNT:
            begin = at + 1
            yield begin


def chunk_id(body: bytes) -> bytes:
    """Return the id of a chunk: the hash of its body."""
    return hashlib.sha256(body).digest()


def pack(body: bytes) -> bytes:
    """Compress a chunk's body, with a checksum."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    packed: bytes = _local.compressor.compress(body)
    return packed


def unpack(packed: bytes) -> bytes:
    """Decompress a chunk's body and verify its checksum.

    Raises:
        LakeError: The chunk is damaged.
    """
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    try:
        body: bytes = _local.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise LakeError("metadata chunk is damaged", remedy="Restore metadata.db from a backup.") from error
    return body
