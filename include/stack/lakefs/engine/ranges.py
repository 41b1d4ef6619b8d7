"""The two kinds of chunk that a tree is made of, how they are written, and where they are cut.

A range holds the entries of a stretch of paths, column by column, so that comparing two ranges needs
paths and identities only and an entry is decoded when somebody asks for it. A metarange lists the
ranges. Both are named by the hash of their content.

Source: lakeFS, "Versioning internals": Graveler's ranges and metaranges.
"""

import bisect
import hashlib
import threading
import zlib
from functools import cached_property
from typing import NamedTuple, TypeAlias

import msgspec
import zstandard

from include.stack.lakefs.model import Entry, LakeError

RANGE_MIN_COUNT = 128
RANGE_MAX_COUNT = 4096
_CUT_BELOW = 2**32 // 512  # one path in 512 ends a range: 640 entries on average
_KNUTH = 2654435761  # spreads crc32, which is linear, so that numbered paths do not fall into step

encoder = msgspec.msgpack.Encoder(order="deterministic")
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_local = threading.local()


class Row(NamedTuple):
    """An entry as trees and staging areas hold it: undecoded, with what it is compared by."""

    path: str
    identity: bytes
    record: msgspec.Raw

    def entry(self) -> Entry:
        """Decode the entry."""
        return _entry_decoder.decode(self.record)


Edit: TypeAlias = tuple[str, Row | None]
"""A path and what to put there, or None to delete it."""


class Range(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of entries in order of path; the columns have equal length, at least 1 when stored."""

    paths: list[str]
    identities: list[bytes]
    records: list[msgspec.Raw]

    def find(self, path: str) -> Row | None:
        """Return the entry at a path."""
        at = bisect.bisect_left(self.paths, path)
        return self.row(at) if at < len(self.paths) and self.paths[at] == path else None

    def row(self, at: int) -> Row:
        """Return the entry at an index."""
        return Row(self.paths[at], self.identities[at], self.records[at])

    def append(self, row: Row) -> None:
        """Add an entry at the end, to a range being written."""
        self.paths.append(row.path)
        self.identities.append(row.identity)
        self.records.append(row.record)

    def extend(self, entries: "Range") -> None:
        """Add entries at the end, to a range being written."""
        self.paths.extend(entries.paths)
        self.identities.extend(entries.identities)
        self.records.extend(entries.records)

    def part(self, start: int, stop: int | None = None) -> "Range":
        """Return the entries from one index up to another."""
        return Range(self.paths[start:stop], self.identities[start:stop], self.records[start:stop])


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
    """Return what makes two entries the same object, as 16 bytes: size, checksum, metadata, type."""
    parts = (entry.size_bytes, entry.checksum, entry.metadata, entry.content_type)
    return hashlib.blake2b(encoder.encode(parts), digest_size=16).digest()


def row_of(entry: Entry) -> Row:
    """Return the entry as trees hold it."""
    return Row(entry.path, identity(entry), msgspec.Raw(encoder.encode(entry)))


def ends_range(path: str, count: int) -> bool:
    """Whether a range that has `count` entries with this one ends at `path`.

    It depends on the entries since the last cut only. So whatever edits led to it, a tree is cut
    where one written afresh would be, and an edit moves no cuts but those around it.
    """
    if count < RANGE_MIN_COUNT:
        return False
    return zlib.crc32(path.encode()) * _KNUTH & 0xFFFFFFFF < _CUT_BELOW or count >= RANGE_MAX_COUNT


def chunk_id(body: bytes) -> bytes:
    """Return the id of a chunk: the hash of its body."""
    return hashlib.blake2b(body, digest_size=32).digest()


def pack(body: bytes) -> bytes:
    """Compress a chunk's body."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=1)
    packed: bytes = _local.compressor.compress(body)
    return packed


def unpack(packed: bytes, expected_id: bytes) -> bytes:
    """Decompress a chunk's body and check it against its id.

    Raises:
        LakeError: The chunk is damaged.
    """
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    body: bytes = _local.decompressor.decompress(packed)
    if chunk_id(body) != expected_id:
        raise LakeError(
            "metadata chunk is damaged", remedy="Restore metadata.db from a backup.", id=expected_id.hex()
        )
    return body
