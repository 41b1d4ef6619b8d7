"""How we know that bytes are the ones that the lake names.

Our own uploads carry the SHA-256 of their content as user metadata, and that decides. An object that others
uploaded has only the checksum that lakeFS keeps, the entity tag of the store, and what can be proven depends
on its form:

    <md5>       one PUT: the MD5 of the bytes, unless the store says that it encrypts by KMS or customer key
    <md5>-<n>   n parts: the MD5 of the MD5s of the parts; we try the part sizes that the usual clients use
    other       (encrypted, Azure, unusual parts) the store must answer with the same tag, that is, it still
                holds the object that was linked; the transfer itself is covered by its length alone

The size is checked in all cases. Whatever was proven once is kept in the cache under its SHA-256.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from include.lake.errors import CorruptObject
from include.lake.objects import ObjectStat

SHA256_KEY = "headrace-sha256"
CHUNK = 1 << 20
PART_SIZES = tuple(mib << 20 for mib in (5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 32, 50, 64, 100, 128, 256, 512))

Proof = Literal["sha256", "md5", "multipart", "etag"]


@dataclass(frozen=True)
class Digests:
    """Of a file: its size, and hashes as lower-case hexadecimal; the MD5s only as far as asked for."""

    size_bytes: int
    sha256: str
    md5: str
    part_md5s: tuple[bytes, ...] = ()


class Digester:
    """Hashes bytes as they pass.

    Args:
        md5: Whether the MD5 of the whole is wanted: it costs more than twice the SHA-256.
        part_bytes: The MD5 of each part of this size is wanted; 0 for none.
    """

    def __init__(self, *, md5: bool = True, part_bytes: int = 0) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._size_bytes = 0
        self._part_bytes = part_bytes
        self._parts: list[Any] = []

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)
        rest = memoryview(chunk)
        while self._part_bytes and rest:
            room = self._part_bytes - self._size_bytes % self._part_bytes
            if room == self._part_bytes:
                self._parts.append(hashlib.md5(usedforsecurity=False))
            self._parts[-1].update(rest[:room])
            self._size_bytes += len(rest[:room])
            rest = rest[room:]
        self._size_bytes += len(rest)

    def done(self) -> Digests:
        """Of all bytes so far."""
        parts = tuple(part.digest() for part in self._parts)
        md5 = "" if self._md5 is None else self._md5.hexdigest()
        return Digests(self._size_bytes, self._sha256.hexdigest(), md5, parts)


def digest_file(path: Path, *, md5: bool = True, part_bytes: int = 0) -> Digests:
    """Of a whole file, in bounded memory."""
    digester = Digester(md5=md5, part_bytes=part_bytes)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digester.update(chunk)
    return digester.done()


def sha256_file(path: Path) -> str:
    """Of a whole file, in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(metadata: Mapping[str, str]) -> str | None:
    """What the uploader recorded, if it has the form of a SHA-256."""
    recorded = metadata.get(SHA256_KEY, "")
    return recorded if re.fullmatch(r"[0-9a-f]{64}", recorded) else None


def prove(stat: ObjectStat, file: Path, got: Digests, *, etag: str, opaque: bool) -> Proof:
    """Check a downloaded file against what the lake records of the object; how it was proven.

    Args:
        stat: What the lake records.
        file: Where the bytes are.
        got: Their digests.
        etag: The tag that came with the bytes; empty where none did.
        opaque: Whether the store says that its tags are no MD5.

    Raises:
        CorruptObject: They do not match.
    """
    if got.size_bytes != stat.size_bytes:
        raise _corrupt(stat, f"{got.size_bytes} bytes instead of {stat.size_bytes}")
    recorded = known_sha256(stat.metadata)
    if recorded is not None:
        return _same(stat, "sha256", recorded, got.sha256)
    checksum = stat.checksum.lower()
    if re.fullmatch(r"[0-9a-f]{32}", checksum) and not opaque:
        return _same(stat, "md5", checksum, got.md5)
    parts = re.fullmatch(r"[0-9a-f]{32}-(\d{1,5})", checksum)
    if parts and not opaque:
        for part_bytes in likely_part_sizes(stat.size_bytes, int(parts[1])):
            if multipart_etag(file, part_bytes) == checksum:
                return "multipart"
    if etag and etag.lower() != checksum:
        raise _corrupt(stat, f"the store holds {etag} instead of {stat.checksum}")
    return "etag"


def likely_part_sizes(size_bytes: int, parts: int) -> list[int]:
    """The usual part sizes by which a file of this size has this many parts."""
    return [part for part in PART_SIZES if -(-size_bytes // part) == parts]


def multipart_etag(file: Path, part_bytes: int) -> str:
    """The entity tag that S3 gives to a file uploaded in parts of this size."""
    return combined_etag(digest_file(file, md5=False, part_bytes=part_bytes).part_md5s)


def combined_etag(part_md5s: Sequence[bytes]) -> str:
    """The entity tag that S3 gives to an object from the MD5s of its parts.

    Source: Amazon S3 user guide, "Checking object integrity", checksums of multipart uploads.
    """
    return f"{hashlib.md5(b''.join(part_md5s), usedforsecurity=False).hexdigest()}-{len(part_md5s)}"


def _same(stat: ObjectStat, proof: Proof, recorded: str, got: str) -> Proof:
    if recorded != got:
        raise _corrupt(stat, f"{proof} {got} instead of {recorded}")
    return proof


def _corrupt(stat: ObjectStat, cause: str) -> CorruptObject:
    return CorruptObject(
        f"the bytes of an object are not those that the lake records: {cause}",
        remedy="Was it written while it was read? If not: restore it, or revert the commit that added it.",
        path=stat.path,
    )
