"""A bounded local store of file contents, shared by all processes of a state folder.

    objects/<xx>/<sha256>   a content, read-only; its modification time is MARK, so a later write shows
    index/<xx>/<key>        a link whose target is the SHA-256 of an object that only its checksum names
    leases/<id>/            a live checkout: `lease`, locked by its process, and `files/`, its folder
    parts/                  downloads on their way
    locks/                  one per stripe of contents, and `plan`, which guards room, leases and eviction

Checkouts are hard links to contents. That makes eviction safe without any agreement between processes: were
a content deleted at the very moment that a checkout links it, the checkout would keep its link. Leases add
which contents live checkouts count on: these are never evicted, and what of them is still to be fetched
takes room. A process that dies loses its lease with its file lock; the next checkout clears it away.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from include.lake.errors import CacheFull, DiskFull
from include.lake.integrity import known_sha256, sha256_file
from include.lake.leases import Lease, live_leases
from include.lake.objects import ObjectStat

MARK_NS = 946_684_800 * 10**9  # 2000-01-01, which no write of today leaves behind
READ_ONLY = 0o444
DISK_RESERVE_BYTES = 64 << 20
OLDEST_PART_S = 24 * 3600


@dataclass(frozen=True)
class Content:
    """A cached content as the disk shows it."""

    path: Path
    size_bytes: int
    used_ns: int


@dataclass(frozen=True)
class Trimmed:
    """What making the cache smaller took away, or would have.

    Args:
        contents: How many.
        size_bytes: Of them.
        kept_bytes: What is left, what live checkouts count on included.
    """

    contents: int
    size_bytes: int
    kept_bytes: int


class Cache:
    """The contents under one folder, at most `size_bytes` of them.

    Args:
        folder: Where; one file system, or hard links do not work.
        size_bytes: The bound. What live checkouts use is never evicted for it.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self.size_bytes = size_bytes
        for name in ("objects", "index", "leases", "parts", "locks"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def key(self, stat: ObjectStat, repository: str) -> str:
        """What names the content of an object: its SHA-256 where that is known, else its checksum."""
        known = known_sha256(stat.metadata)
        if known is not None:
            return known
        # The metadata does not count: the same bytes, linked twice, are one content.
        identity = f"{repository}\0{stat.checksum}\0{stat.size_bytes}".encode()
        key = "etag-" + sha256(identity).hexdigest()
        return self._indexed(key) or key

    def lease(self, wanted: Mapping[str, int]) -> Lease:
        """Make room for contents, by key and size, and a folder for a checkout of them.

        Raises:
            CacheFull: They do not fit beside what live checkouts use.
            DiskFull: The disk has no room for what is missing.
        """
        with self._locked("plan"):
            others = live_leases(self.folder / "leases")
            self._clear_parts()
            missing = {key: size for key, size in wanted.items() if not self.path(key).exists()}
            if missing:
                self._make_room(wanted, missing, others)
            return Lease(self.folder / "leases" / uuid4().hex, wanted)

    def trim(self, size_bytes: int | None = None, *, dry_run: bool = False) -> Trimmed:
        """Evict the least recently used contents beyond a bound, and clear away what dead processes left.

        What live checkouts count on stays, so that more than the bound may be left.

        Args:
            size_bytes: The bound in place of the cache's own.
            dry_run: Only count.

        Raises:
            ValueError: The bound is negative.
        """
        bound = self.size_bytes if size_bytes is None else size_bytes
        if bound < 0:
            raise ValueError(f"a cache cannot hold {bound} bytes")
        with self._locked("plan"):
            claimed = self._claimed(live_leases(self.folder / "leases", clear=not dry_run))
            contents = list(self.contents())
            used = sum(content.size_bytes for content in contents)
            evicted = _evictable(contents, claimed, used - bound)
            if not dry_run:
                _evict(evicted)
                self._clear_parts()
                self._clear_index()
        size = sum(content.size_bytes for content in evicted)
        return Trimmed(len(evicted), size, used - size)

    def path(self, key: str) -> Path:
        """Where the content of a key is, if it is there."""
        return self.folder / "objects" / key[-2:] / key

    def place(
        self, stat: ObjectStat, key: str, target: Path, fetch: Callable[[Path], str], *, deep: bool
    ) -> bool:
        """Link the content of an object to `target`, fetched if need be; whether it was.

        Args:
            stat: The object.
            key: As `key` gave it.
            target: A path that does not exist, on the file system of the cache.
            fetch: Writes the object to a file, proves it, and returns its SHA-256.
            deep: Hash what is cached instead of trusting its size and modification time.
        """
        if self._link(stat, key, target, deep=deep):
            return False
        with self._locked(sha256(key.encode()).hexdigest()[:2]):  # others wait for this download
            key = self._indexed(key) or key
            if self._link(stat, key, target, deep=False):
                return False
            part = self.folder / "parts" / uuid4().hex
            try:
                content = fetch(part)
                self._adopt(part, content, target)
            finally:
                part.unlink(missing_ok=True)
            if key != content:
                self._index(key, content)
        return True

    def contents(self) -> Iterator[Content]:
        """What is cached now."""
        for path in (self.folder / "objects").glob("??/*"):
            with suppress(FileNotFoundError):  # evicted meanwhile
                stat = path.stat()
                yield Content(path, stat.st_size, stat.st_atime_ns)

    def _make_room(
        self, wanted: Mapping[str, int], missing: Mapping[str, int], others: Mapping[str, int]
    ) -> None:
        claimed = self._claimed(others) | dict(wanted)
        contents = list(self.contents())
        present = {content.path.name for content in contents}
        coming = sum(size for key, size in claimed.items() if key not in present)
        used = sum(content.size_bytes for content in contents) + coming
        evicted = _evictable(contents, claimed, used - self.size_bytes)
        _evict(evicted)
        used -= sum(content.size_bytes for content in evicted)
        if used > self.size_bytes:
            raise CacheFull(
                f"the checkout needs {sum(wanted.values())} bytes; with what other checkouts use the cache"
                f" would hold {used}, and its bound is {self.size_bytes}",
                remedy="Raise HEADRACE_CACHE_SIZE_BYTES, or close other checkouts.",
                folder=self.folder,
            )
        free = shutil.disk_usage(self.folder).free
        if coming + DISK_RESERVE_BYTES > free:
            raise disk_full(self.folder, sum(missing.values()), free)

    def _claimed(self, leases: Mapping[str, int]) -> dict[str, int]:
        """What live checkouts count on, by the name of the content where that is known."""
        return {self._indexed(key) or key: size for key, size in leases.items()}

    def _clear_parts(self) -> None:
        """Delete the downloads of processes that died; none takes so long."""
        oldest_s = time.time() - OLDEST_PART_S
        for part in (self.folder / "parts").iterdir():
            with suppress(FileNotFoundError):
                if part.lstat().st_ctime < oldest_s:  # its modification time is the MARK at the end
                    part.unlink()

    def _clear_index(self) -> None:
        """Delete the names of contents that are not there; one made at this moment costs a fetch, no more."""
        for link in (self.folder / "index").glob("??/*"):
            with suppress(OSError):
                if not self.path(str(link.readlink())).exists():
                    link.unlink(missing_ok=True)

    def _link(self, stat: ObjectStat, key: str, target: Path, *, deep: bool) -> bool:
        """Link a cached content if it is there and sound; what is not is deleted."""
        path = self.path(key)
        try:
            if not _is_sound(path, stat.size_bytes, deep=deep):
                path.unlink(missing_ok=True)
                return False
            os.utime(path, ns=(time.time_ns(), MARK_NS))
            os.link(path, target)
        except FileNotFoundError:
            return False
        return True

    def _adopt(self, part: Path, content: str, target: Path) -> None:
        with part.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the right size and zeros
        part.chmod(READ_ONLY)
        os.utime(part, ns=(time.time_ns(), MARK_NS))
        os.link(part, target)  # before it is in the cache: so it cannot be evicted in between
        path = self.path(content)
        path.parent.mkdir(exist_ok=True)
        part.rename(path)

    def _index_path(self, key: str) -> Path:
        return self.folder / "index" / key[-2:] / key

    def _indexed(self, key: str) -> str | None:
        try:
            return str(self._index_path(key).readlink())
        except OSError:
            return None

    def _index(self, key: str, content: str) -> None:
        path = self._index_path(key)
        path.parent.mkdir(exist_ok=True)
        fresh = self.folder / "parts" / uuid4().hex
        fresh.symlink_to(content)
        fresh.rename(path)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self.folder / "locks" / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def disk_full(folder: Path, needed_bytes: int, free_bytes: int) -> DiskFull:
    """The error for a disk without room."""
    return DiskFull(
        f"the disk has no room: {needed_bytes} bytes are to be fetched, {free_bytes} are free",
        remedy="Free some, or set HEADRACE_HOME to a larger disk; nothing half-written is left.",
        folder=folder,
    )


def _evictable(contents: Iterable[Content], claimed: Collection[str], excess_bytes: int) -> list[Content]:
    """The least recently used contents that nobody claims, until they make up for an excess."""
    chosen: list[Content] = []
    for content in sorted(contents, key=lambda content: content.used_ns):
        if excess_bytes <= 0:
            break
        if content.path.name not in claimed:
            chosen.append(content)
            excess_bytes -= content.size_bytes
    return chosen


def _evict(contents: Iterable[Content]) -> None:
    for content in contents:
        content.path.unlink(missing_ok=True)


def _is_sound(path: Path, size_bytes: int, *, deep: bool) -> bool:
    stat = path.stat()
    if stat.st_size != size_bytes:
        return False
    if stat.st_mtime_ns == MARK_NS and not deep:
        return True
    return sha256_file(path) == path.name
