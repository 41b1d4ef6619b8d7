"""Objects of the lake: listed, asked for, and read in pieces."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3

from include.lake.connection import Lake, ref_name
from include.lake.errors import NotFound, ServerRefused, UnknownPath
from include.lake.paths import confined
from include.spec.refs import CommitRef, DraftRef

ROWS_KEY = "headrace-rows"
READ_AHEAD_BYTES = 64 * 1024

Ref = CommitRef | DraftRef


@dataclass(frozen=True)
class ObjectStat:
    """What the lake records of an object.

    Args:
        path: In the lake.
        size_bytes: Of its content.
        checksum: The entity tag of the store at the time it was linked.
        metadata: The uploader's own.
        mtime_s: When it was linked, in seconds since the epoch.
    """

    path: str
    size_bytes: int
    checksum: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    mtime_s: int = 0

    @property
    def rows(self) -> int | None:
        """Rows of a Parquet file, where the uploader counted them."""
        return rows_in(self.metadata)


def rows_in(metadata: Mapping[str, str] | None) -> int | None:
    """The rows that an uploader recorded."""
    text = (metadata or {}).get(ROWS_KEY, "")
    return int(text) if text.isdecimal() else None


def list_objects(lake: Lake, ref: Ref, prefix: str = "") -> Iterator[ObjectStat]:
    """The objects under a folder, or the one object of that path, in order of path; of a draft, staged too.

    `raw/retail` never lists `raw/retail_old/...`.

    Raises:
        UnknownRef: There is no such ref.
        BadPath: The prefix is no path of the lake.
    """
    folder = prefix.removesuffix("/")
    name = ref_name(ref)
    try:
        if folder:
            confined(folder)
            alone = stat_or_none(lake, ref, folder)
            if alone is not None:
                yield alone
            folder += "/"
        for stats in lake.pages(lake.api.objects_api.list_objects, name, prefix=folder):
            yield object_stat(stats)
    except NotFound as error:
        raise lake.unknown_ref(name) from error


def object_stat(stats: Any) -> ObjectStat:
    """Ours, from the SDK's."""
    return ObjectStat(
        path=stats.path,
        size_bytes=stats.size_bytes or 0,
        checksum=stats.checksum.strip('"'),
        metadata=stats.metadata or {},
        mtime_s=stats.mtime,
    )


def stat_or_none(lake: Lake, ref: Ref, path: str) -> ObjectStat | None:
    """What the lake records of one object; None where there is none at this ref.

    Raises:
        UnknownRef: There is no such ref.
    """
    try:
        return object_stat(lake.call(lambda: _stat(lake, ref, path, pre_sign=False)))
    except NotFound:
        lake.resolve(ref_name(ref))
        return None


@contextmanager
def opened(
    lake: Lake, ref: Ref, path: str, *, first: int | None = None, last: int | None = None
) -> Iterator[urllib3.BaseHTTPResponse]:
    """One try to stream an object, or its bytes `first` to `last`: straight from the store if it can be.

    Raises:
        ApiException, TransientAnswer: For `lake.call` to judge, within which this is used.
        CorruptObject: The store has lost the object.
    """
    if lake.pre_sign:
        url = _stat(lake, ref, path, pre_sign=True).physical_address
    else:
        url = lake.wire.server_url(
            "repositories", lake.repository, "refs", ref_name(ref), "objects", path=path
        )
    with lake.wire.get(url, first=first, last=last) as response:
        yield response


def read_bytes(
    lake: Lake, ref: Ref, path: str, *, first: int | None = None, last: int | None = None
) -> bytes:
    """A small object, or a piece of one.

    Raises:
        UnknownPath: There is no such object at this ref.
    """

    def read() -> bytes:
        with opened(lake, ref, path, first=first, last=last) as response:
            return response.read()

    try:
        return lake.call(read)
    except NotFound as error:
        raise unknown_path(lake, ref, path) from error


def unknown_path(lake: Lake, ref: Ref, path: str) -> UnknownPath:
    """The error for a path under which nothing lies."""
    return UnknownPath(
        "nothing lies under this path of the lake",
        remedy="`headrace lake tables` lists what is there.",
        path=path,
        ref=ref_name(ref),
        repository=lake.repository,
    )


class ObjectFile(io.RawIOBase):
    """A seekable file over range reads, for readers that need a few pieces of a large object.

    Args:
        lake: Where.
        ref: At which commit or draft.
        stat: Which object; its size must be right.
    """

    def __init__(self, lake: Lake, ref: Ref, stat: ObjectStat) -> None:
        super().__init__()
        self._lake, self._ref, self._stat = lake, ref, stat
        self._position = 0
        self._piece, self._piece_start = b"", 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The next byte to be read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte; no request is made."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._stat.size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the object goes; short reads ahead are kept for the next one."""
        wanted = min(len(buffer), self._stat.size_bytes - self._position)
        if wanted <= 0:
            return 0
        offset = self._position - self._piece_start
        if not 0 <= offset <= len(self._piece) - wanted:
            self._fetch(wanted)
            offset = self._position - self._piece_start
        buffer[:wanted] = self._piece[offset : offset + wanted]
        self._position += wanted
        return wanted

    def _fetch(self, wanted: int) -> None:
        size_bytes = self._stat.size_bytes
        first = self._position
        last = min(size_bytes, first + max(wanted, READ_AHEAD_BYTES)) - 1
        if size_bytes - first < READ_AHEAD_BYTES:  # Parquet readers walk backwards from the end
            first = max(0, size_bytes - READ_AHEAD_BYTES)
        self._piece = read_bytes(self._lake, self._ref, self._stat.path, first=first, last=last)
        self._piece_start = first
        if len(self._piece) != last - first + 1:
            raise ServerRefused("a range read came back short", status=0, path=self._stat.path)


def _stat(lake: Lake, ref: Ref, path: str, *, pre_sign: bool) -> Any:
    return lake.api.objects_api.stat_object(lake.repository, ref_name(ref), path, presign=pre_sign)
