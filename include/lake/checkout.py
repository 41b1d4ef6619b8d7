"""Bytes from the lake: the objects of a commit under a prefix, as a folder of read-only files.

Contents come from the cache, and from the object store only once: several at a time, each proven against
what the lake records before any reader sees it. Local engines then read at local speed.
"""

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from include.lake.cache import READ_ONLY, Cache, disk_full
from include.lake.connection import Lake, ref_name
from include.lake.errors import BadPath, CorruptObject, UnknownPath
from include.lake.integrity import CHUNK, Digester, known_sha256, prove
from include.lake.leases import Lease
from include.lake.objects import ObjectStat, Ref, list_objects, opened, unknown_path
from include.lake.paths import confined
from include.lake.wire import etag, is_opaque

FETCH_THREADS = 8
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}

Progress = Callable[[str, int], None]
"""Called from several threads with a lake path and its bytes once they are there."""


@dataclass(frozen=True)
class Checkout:
    """A folder that mirrors lake paths; there until it is closed (use `with`), or its process ends.

    Args:
        folder: Its root: the object `raw/retail/orders/a.parquet` is that path below it.
        ref: What was checked out.
        objects: What is in it, in order of path.
        fetched_bytes: How much of it was not in the cache.
    """

    folder: Path
    ref: Ref
    objects: tuple[ObjectStat, ...]
    fetched_bytes: int
    _lease: Lease | None = field(default=None, repr=False, compare=False)

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(stat.size_bytes for stat in self.objects)

    def path(self, lake_path: str = "") -> Path:
        """The local file or folder of a lake path.

        Raises:
            UnknownPath: It is not in this checkout.
            BadPath: It is no path of the lake.
        """
        folder = lake_path.removesuffix("/")
        path = self.folder / confined(folder) if folder else self.folder
        if not path.exists():
            raise UnknownPath(
                "the checkout has no such path",
                remedy="Was it made for another prefix, or closed?",
                path=lake_path,
                ref=ref_name(self.ref),
            )
        return path

    def close(self) -> None:
        """Give the folder up; the cache keeps the bytes as long as there is room. Again is harmless."""
        if self._lease is not None:
            self._lease.release()

    def __enter__(self) -> "Checkout":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checkout(
    lake: Lake,
    ref: Ref,
    prefix: str = "",
    *,
    to: Path | None = None,
    deep: bool = False,
    progress: Progress | None = None,
) -> Checkout:
    """Make the objects under a prefix local; of a draft, what is staged too.

    Args:
        lake: Where.
        ref: A commit, or a draft as it is now.
        prefix: A folder of the lake, or one object; all of it by default.
        to: Keep the files in this folder, which must be empty or absent, instead of one of the cache's
            that ends with the process.
        deep: Hash what is cached, too, instead of trusting its size and modification time.
        progress: Told of lake paths and bytes as they arrive.

    Raises:
        UnknownRef, UnknownPath: There is no such ref, or nothing under the prefix.
        BadPath: A path of the lake cannot be a local file, or `to` holds something.
        CorruptObject: Bytes are not those that the lake records.
        DiskFull, CacheFull: There is no room. As after any error, nothing half-written is left.
    """
    if to is not None and to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadPath(f"{to} is not empty", remedy="Give an empty folder, or one that does not exist.")
    objects = tuple(list_objects(lake, ref, prefix))
    if not objects and prefix:
        raise unknown_path(lake, ref, prefix)
    cache = Cache(lake.cache_folder, lake.cache_size_bytes)
    keys = {stat.path: cache.key(stat, lake.repository) for stat in objects}
    lease = cache.lease({keys[stat.path]: stat.size_bytes for stat in objects})
    try:
        _make_folders(lease.files, objects)
        fetched_bytes = _fill(lake, ref, cache, objects, keys, lease.files, deep=deep, progress=progress)
        if to is None:
            return Checkout(lease.files, ref, objects, fetched_bytes, lease)
        _keep(lease.files, to, objects)
    except OSError as error:
        lease.release()
        if error.errno in NO_ROOM:
            missing = sum(stat.size_bytes for stat in objects)
            raise disk_full(cache.folder, missing, shutil.disk_usage(cache.folder).free) from error
        raise
    except BaseException:
        lease.release()
        raise
    lease.release()
    return Checkout(to, ref, objects, fetched_bytes)


def _make_folders(root: Path, objects: tuple[ObjectStat, ...]) -> None:
    files = {confined(stat.path) for stat in objects}
    for folder in sorted({path.rpartition("/")[0] for path in files}):
        parts = folder.split("/")
        above = {"/".join(parts[: depth + 1]) for depth in range(len(parts))}
        if clash := sorted(above & files):
            raise BadPath(
                f"{clash[0]!r} is an object of the lake and a folder of others",
                remedy="Check out a prefix that holds only one of them.",
            )
        (root / folder).mkdir(parents=True, exist_ok=True)


def _fill(
    lake: Lake,
    ref: Ref,
    cache: Cache,
    objects: tuple[ObjectStat, ...],
    keys: dict[str, str],
    root: Path,
    *,
    deep: bool,
    progress: Progress | None,
) -> int:
    """Place all objects below a folder; how many bytes had to be fetched."""

    def place(stat: ObjectStat) -> int:
        fetched = cache.place(
            stat,
            keys[stat.path],
            root / stat.path,
            lambda part: _fetch_proven(lake, ref, stat, part),
            deep=deep,
        )
        if progress is not None:
            progress(stat.path, stat.size_bytes)
        return stat.size_bytes if fetched else 0

    with ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="checkout") as threads:
        futures = [threads.submit(place, stat) for stat in objects]
        try:
            return sum(future.result() for future in futures)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _fetch_proven(lake: Lake, ref: Ref, stat: ObjectStat, part: Path) -> str:
    try:
        return lake.call(lambda: _fetch(lake, ref, stat, part))
    except CorruptObject:  # once more: the transfer may have been bad, and not the object
        return lake.call(lambda: _fetch(lake, ref, stat, part))


def _fetch(lake: Lake, ref: Ref, stat: ObjectStat, part: Path) -> str:
    """One try to write an object to a file and prove it; the SHA-256 of its content."""
    digester = Digester(md5=known_sha256(stat.metadata) is None)
    with opened(lake, ref, stat.path) as response, part.open("wb") as file:
        for chunk in response.stream(CHUNK, decode_content=False):
            digester.update(chunk)
            file.write(chunk)
        tag, opaque = etag(response), is_opaque(response)
    got = digester.done()
    prove(stat, part, got, etag=tag, opaque=opaque)
    return got.sha256


def _keep(files: Path, to: Path, objects: tuple[ObjectStat, ...]) -> None:
    """Put the files of a checkout into a folder of the caller's, all or none."""
    to.parent.mkdir(parents=True, exist_ok=True)
    building = to.parent / f".{to.name}.{uuid4().hex}"
    try:
        building.mkdir()
        for stat in objects:
            target = building / stat.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(files / stat.path, target)
        building.rename(to)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(file, target)  # another file system
        target.chmod(READ_ONLY)
