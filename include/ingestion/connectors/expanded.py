"""What compressed files hold, bounded: a file that expands beyond reason is refused, not written out."""

import io
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

# Data becomes 2 to 50 times smaller; gzip can do 1,032 times, archives in archives millions.
LARGEST_RATIO = 100
ALWAYS_ALLOWED_BYTES = 64 * 2**20
MOST_MEMBERS = 10_000
SPOOLED_BYTES = 8 * 2**20


class TooLarge(ValueError):
    """A compressed file holds more than is believed of one of its size."""


def allowed_bytes(stored_bytes: int) -> int:
    """What a compressed file of a size may hold."""
    return ALWAYS_ALLOWED_BYTES + LARGEST_RATIO * stored_bytes


class Budget(io.RawIOBase):
    """A stream that ends in an error once it gave more than it may.

    Args:
        stream: What is read; anything with `read`.
        left: How many bytes it may give; shared between streams by passing the same list.
    """

    def __init__(self, stream: Any, left: list[int]) -> None:
        self._stream, self._left, self._allowed = stream, left, left[0]

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what fits in the buffer; 0 at the end."""
        data = self._stream.read(len(buffer))
        self._left[0] -= len(data)
        if self._left[0] < 0:
            raise TooLarge(
                f"it expands to more than {self._allowed / 2**20:,.0f} MiB, which its size is no reason for"
            )
        buffer[: len(data)] = data
        return len(data)


def contents(name: str, stream: Any, stored_bytes: int) -> Generator[tuple[str, IO[bytes]]]:
    """The files that a file is: itself, what gzip packed, or the members of an archive by name.

    Args:
        name: Of the file; `.gz` and `.zip` say what it is.
        stream: Its bytes, seekable.
        stored_bytes: How many there are.

    Yields:
        Where the file is within this one (empty for itself) and its bytes; read each before the next.

    Raises:
        TooLarge: Raised by the streams, too: more than a file of this size should hold.
        zipfile.BadZipFile: It is no archive.
    """
    if name.endswith(".gz"):
        expanded = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "gzip")
        yield "", cast(IO[bytes], io.BufferedReader(Budget(expanded, [allowed_bytes(stored_bytes)]), 2**20))
    elif name.endswith(".zip"):
        yield from _members(stream, stored_bytes)
    else:
        yield "", stream


def _members(stream: Any, stored_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    left = [allowed_bytes(stored_bytes)]
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise TooLarge(f"it has {len(members):,} members, at most {MOST_MEMBERS:,} are read")
        for member in sorted(members, key=lambda member: member.filename):
            hidden = member.filename.startswith("__MACOSX/")
            if member.is_dir() or hidden or member.filename.rpartition("/")[2].startswith("."):
                continue
            if member.flag_bits & 1:
                raise zipfile.BadZipFile(f"its member {member.filename!r} is encrypted")
            with archive.open(member) as inner:
                yield f"!{member.filename}", cast(IO[bytes], io.BufferedReader(Budget(inner, left), 2**20))


@contextmanager
def seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The same bytes, in a temporary file where the stream cannot be read out of order."""
    if stream.seekable():
        yield stream
        return
    from shutil import copyfileobj
    from tempfile import SpooledTemporaryFile

    with SpooledTemporaryFile(SPOOLED_BYTES) as spooled:
        copyfileobj(stream, spooled, 2**20)
        spooled.seek(0)
        yield cast(IO[bytes], spooled)
