"""Objects in a local folder: `local://<name>/<address>` is `<root>/<name>/<address>`."""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from include.stack.lakefs.blockstore.store import (
    Blob,
    BytesMissing,
    NamespaceInUse,
    Reader,
    StorageError,
    StorageFull,
    Written,
    full_uri,
)
from include.stack.lakefs.model import Invalid

SCHEME = "local://"
MARKER = "_lakefs/dummy"
UNFINISHED = ".unfinished"


class LocalStore:
    """A blockstore in one folder of this machine.

    Args:
        root: Folder that holds all objects; created with mode 0700 if absent.
    """

    kind = "local"
    namespace_pattern = r"^local://"
    namespace_example = "local://example-bucket/"
    presigns = False

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._unfinished = self.root / UNFINISHED
        self._unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._unfinished.iterdir():
            left.unlink()

    def claim_namespace(self, namespace: str) -> None:
        """See `Blockstore`."""
        marker = full_uri(namespace, MARKER)
        if self.path_of(marker).exists():
            raise NamespaceInUse(f"found lakeFS objects in the storage namespace({namespace}) key({MARKER})")
        writer = self.writer(marker)
        writer.write(b"this namespace belongs to a lakeFS repository")
        writer.finish()

    def check_uri(self, uri: str) -> None:
        """See `Blockstore`."""
        self.path_of(uri)

    def path_of(self, uri: str) -> Path:
        """The file of an address.

        Raises:
            Invalid: It is not `local://`, or leads out of the root.
        """
        key = uri.removeprefix(SCHEME)
        if key == uri:
            raise Invalid(f"physical address is not valid for block adapter: local: {uri}")
        parts = key.strip("/").split("/")
        if any(part in ("", ".", "..", UNFINISHED) or "\0" in part for part in parts):
            raise Invalid(f"physical address leads out of the blockstore: {uri}")
        path = self.root.joinpath(*parts)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise Invalid(f"physical address leads out of the blockstore: {uri}")
        return path

    def writer(self, uri: str) -> "LocalWriter":
        """See `Blockstore`."""
        return LocalWriter(self._unfinished / secrets.token_hex(16), self.path_of(uri))

    def read(self, uri: str, start: int, size: int) -> bytes:
        """See `Blockstore`."""
        reader = self.open(uri, start, size)
        try:
            return reader.read(size)
        finally:
            reader.close()

    def open(self, uri: str, start: int, size: int) -> Reader:
        """See `Blockstore`."""
        path = self.path_of(uri)
        try:
            file = path.open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise BytesMissing("No data") from error
        file.seek(start)
        return LocalReader(file, size)

    def stat(self, uri: str) -> Blob:
        """See `Blockstore`."""
        path = self.path_of(uri)
        if not path.is_file():
            raise BytesMissing("No data")
        return self._blob(path, key=path.name)

    def walk(self, uri: str, *, checksums: bool = True) -> Iterator[Blob]:
        """See `Blockstore`."""
        folder = uri.removeprefix(SCHEME).rpartition("/")[0]
        start = self.path_of(SCHEME + folder) if folder.strip("/") else self.root
        wanted = uri.rpartition("/")[2]
        for path in _files(start):
            key = path.relative_to(start).as_posix()
            if key.startswith(wanted) and not key.startswith(UNFINISHED):
                yield self._blob(path, key, checksums=checksums)

    def copy(self, source: str, target: str) -> None:
        """See `Blockstore`; both names share the bytes, which never change, until one is deleted."""
        origin, place = self.path_of(source), self.path_of(target)
        if not origin.is_file():
            raise BytesMissing("No data")
        with _full_disk_told():
            _make_folders(place.parent)
            os.link(origin, place)
            _sync_folder(place.parent)

    def delete(self, uris: Iterable[str]) -> int:
        """See `Blockstore`."""
        handled = 0
        for uri in uris:
            self.path_of(uri).unlink(missing_ok=True)
            handled += 1
        return handled

    def presign(self, uri: str, *, write: bool = False) -> tuple[str, int]:
        """A local folder has no pre-signed links."""
        raise Invalid(
            f"operation not supported: a local folder has no pre-signed links (write={write}): {uri}"
        )

    def _blob(self, path: Path, key: str, *, checksums: bool = True) -> Blob:
        facts = path.stat()
        uri = SCHEME + path.relative_to(self.root).as_posix()
        return Blob(uri, key, facts.st_size, _md5(path) if checksums else "", int(facts.st_mtime))


class LocalReader:
    """Reads at most `size` bytes of an open file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int) -> bytes:
        """See `Reader`."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See `Reader`."""
        self._file.close()


class LocalWriter:
    """Writes beside the objects, and moves into place once all is on disk."""

    def __init__(self, unfinished: Path, target: Path) -> None:
        self._unfinished = unfinished
        self._target = target
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size_bytes = 0
        with _full_disk_told():
            self._file = unfinished.open("xb")

    def write(self, data: bytes) -> None:
        """See `Writer`."""
        self._digest.update(data)
        self._size_bytes += len(data)
        with _full_disk_told():
            self._file.write(data)

    def finish(self) -> Written:
        """See `Writer`."""
        with _full_disk_told():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            _make_folders(self._target.parent)
            self._unfinished.rename(self._target)
            _sync_folder(self._target.parent)
        return Written(self._digest.hexdigest(), self._size_bytes)

    def abort(self) -> None:
        """See `Writer`."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._unfinished.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _make_folders(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder in the order of their keys; links are not followed."""
    if not folder.is_dir():
        return
    # A folder sorts as its name with the slash that its keys have there.
    entries = sorted(os.scandir(folder), key=lambda e: e.name + "/" * e.is_dir(follow_symlinks=False))
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("no space left in the local blockstore") from error
        raise StorageError(f"the local blockstore cannot be written: {error.strerror}") from error
