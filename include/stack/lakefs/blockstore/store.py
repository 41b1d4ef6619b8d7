"""What the server asks of the place that holds the bytes of objects."""

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from include.stack.lakefs.model import Gone, Invalid, LakeError

CHUNK_BYTES = 2**20
"""How much is read at a time when an object is sent."""


class StorageError(LakeError):
    """The blockstore failed or cannot be reached; the request may be tried again."""

    status = 500


class StorageFull(LakeError):
    """There is no room left in the blockstore."""

    status = 507


class BytesMissing(Gone):
    """The blockstore has nothing at the address of an object."""


class NamespaceInUse(Invalid):
    """Another repository has, or had, this storage namespace."""


@dataclass(frozen=True)
class Written:
    """What a finished upload is.

    Args:
        checksum: MD5 of the bytes, hexadecimal.
        size_bytes: Their number.
    """

    checksum: str
    size_bytes: int


@dataclass(frozen=True)
class Blob:
    """An object of the blockstore.

    Args:
        uri: Its full address.
        key: Its address relative to what was walked.
        size_bytes: Its length.
        checksum: Its ETag, without quotes.
        mtime: Unix time in seconds of its last change.
        storage_class: As the blockstore names it.
    """

    uri: str
    key: str
    size_bytes: int
    checksum: str
    mtime: int
    storage_class: str = "STANDARD"


class Writer(Protocol):
    """An upload in progress; nothing is there until it is finished."""

    def write(self, data: bytes) -> None:
        """Add bytes."""

    def finish(self) -> Written:
        """Make the object durable and visible under its address."""

    def abort(self) -> None:
        """Leave nothing behind."""


class Reader(Protocol):
    """A download in progress."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end."""

    def close(self) -> None:
        """Let go of connection or file."""


class Blockstore(Protocol):
    """Bytes by full address; thread-safe, synchronous."""

    kind: str
    namespace_pattern: str
    namespace_example: str
    presigns: bool

    def claim_namespace(self, namespace: str) -> None:
        """Check that a new repository can use a storage namespace, and mark it as used.

        Raises:
            NamespaceInUse: It is used already.
            Invalid: It is not an address of this blockstore.
            StorageError: It cannot be written.
        """

    def check_uri(self, uri: str) -> None:
        """Check that an address is one of this blockstore.

        Raises:
            Invalid: It is not, or it leads out of it.
        """

    def writer(self, uri: str) -> Writer:
        """Begin an upload."""

    def read(self, uri: str, start: int, size: int) -> bytes:
        """Some bytes of an object, in one go.

        Raises:
            BytesMissing: Nothing is there.
        """

    def open(self, uri: str, start: int, size: int) -> Reader:
        """Begin a download.

        Raises:
            BytesMissing: Nothing is there.
        """

    def stat(self, uri: str) -> Blob:
        """Look at one object.

        Raises:
            BytesMissing: Nothing is there.
        """

    def walk(self, uri: str, *, checksums: bool = True) -> Iterator[Blob]:
        """All objects whose address begins so, in order; keys relative to the last `/` of `uri`.

        Without `checksums` they may be empty, where finding them out would read the bytes.
        """

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the blockstore.

        Raises:
            BytesMissing: Nothing is at `source`.
        """

    def delete(self, uris: Iterable[str]) -> int:
        """Delete objects; absent ones are passed over. Returns how many addresses were handled."""

    def presign(self, uri: str, *, write: bool = False) -> tuple[str, int]:
        """A link to read or write an object without credentials, and its expiry in unix seconds.

        Raises:
            Invalid: This blockstore has no such links.
        """


class MultipartStore(Protocol):
    """A blockstore to which clients can upload parts by themselves."""

    def create_upload(self, uri: str) -> str:
        """Begin; returns the upload id."""

    def presign_part(self, uri: str, upload_id: str, number: int) -> str:
        """A link to upload one part."""

    def copy_part(self, uri: str, upload_id: str, number: int, source: str, span: str) -> str:
        """Copy a part from another object, `span` as `bytes=a-b` or ""; returns its ETag."""

    def complete_upload(self, uri: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> Blob:
        """Join the parts (number, ETag)."""

    def abort_upload(self, uri: str, upload_id: str) -> None:
        """Drop the parts."""


class Addresses:
    """Makes addresses for new objects: `data/<partition>/<unique id>`.

    A partition holds what was written within the same hour; later ones sort first, so that a
    listing of the newest objects needs no full scan.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour = -1
        self._partition = ""

    def new(self) -> str:
        """An address relative to a storage namespace, never given out before."""
        hour = int(time.time() // 3600)
        with self._lock:
            if hour != self._hour:
                self._hour = hour
                self._partition = f"g{2**32 - hour:08x}{secrets.token_hex(4)}"
            return f"data/{self._partition}/{secrets.token_hex(16)}"


def full_uri(namespace: str, address: str) -> str:
    """The full form of an address relative to a storage namespace."""
    return f"{namespace.rstrip('/')}/{address}"


def relative_address(namespace: str, uri: str) -> str | None:
    """The part of a full address below a storage namespace; None where it lies elsewhere."""
    prefix = namespace.rstrip("/") + "/"
    if not uri.startswith(prefix):
        return None
    address = uri.removeprefix(prefix)
    if not address or any(part in ("", ".", "..") for part in address.split("/")):
        return None
    return address
