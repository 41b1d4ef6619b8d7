"""Files in a folder, in a bucket or on an SFTP server: which match, and their rows, packed or plain."""

import os
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import pyarrow as pa
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.utils import glob_translate
from pyarrow.fs import S3FileSystem

from include.ingestion import contracts
from include.ingestion.connectors import formats
from include.ingestion.connectors.access import setting
from include.ingestion.connectors.expanded import TooLarge, contents
from include.ingestion.connectors.formats import first_line
from include.ingestion.connectors.sftp import broke_off, sftp_filesystem
from include.settings import Settings
from include.spec.errors import HeadraceError
from include.spec.reads import Files, Sftp
from include.spec.source import Table

# Arrow's errors of S3 and of broken content are of one class; these words are in the former only.
_STORE_FAILED = "AWS Error"
_MAGIC = re.compile(r"[*?\[]")
_BROKEN = (
    *(pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, UnicodeDecodeError, OSError, EOFError),
    *(TooLarge, zipfile.BadZipFile, zlib.error, NotImplementedError),
)


class FileStoreError(HeadraceError):
    """The store did not answer, or did not let us in; the files may be as they should."""


@dataclass(frozen=True)
class File:
    """One file that matches, and the mark that changes when its content does.

    Args:
        path: Path within the bucket.
        url: Bucket and path, for people.
        version: The store's own mark of the content (ETag), else one over size and time.
        size_bytes: Its length as stored.
    """

    path: str
    url: str
    version: str
    size_bytes: int


class FileStore:
    """A bucket, or a folder here or on an SFTP server, that files are read from.

    Args:
        settings: Where it is, and the keys to it.
        bucket_setting: Name of the field that holds a bucket, or an address `s3://`, `file://` or `sftp://`.
        sftp: Names the keys of an SFTP server.

    Raises:
        FileStoreError: The address is of another kind.
        SftpError: The server is not the one that is trusted, or did not let us in.
    """

    def __init__(self, settings: Settings, bucket_setting: str, sftp: Sftp | None = None) -> None:
        place = setting(settings, bucket_setting)
        kind, separated, rest = place.partition("://")
        if kind == "sftp" and separated:
            self._filesystem, self._root, self._shown = sftp_filesystem(settings, place, sftp)
        elif kind == "file" and separated:
            self._filesystem, self._root = fsspec.core.url_to_fs(place)
            self._shown = place.rstrip("/")
        elif kind == "s3" or not separated:
            self._root = (rest if separated else place).rstrip("/")
            self._filesystem, self._shown = ArrowFSWrapper(_s3(settings)), f"s3://{self._root}"
        else:
            raise FileStoreError(
                f"HEADRACE_{bucket_setting.upper()} is an address of kind {kind!r}.",
                remedy="Accepted: the name of an S3 bucket, s3://..., file:///... or sftp://...",
            )
        self._local = kind == "file" and bool(separated)

    def shown(self, read: Files) -> str:
        """The pattern with its bucket, for people."""
        return f"{self._shown}/{read.pattern}"

    def matching(self, read: Files) -> tuple[File, ...]:
        """The files of a pattern, in order of their names.

        Raises:
            FileStoreError: They cannot be listed.
            ContractError: One is a link to what lies outside the folder.
        """
        pattern = f"{self._root}/{read.pattern}"
        matches = re.compile(glob_translate(pattern)).match
        folder = _MAGIC.split(pattern)[0].rpartition("/")[0]
        try:
            # Not `glob`: it takes a refused or failed listing for an empty folder.
            found = self._filesystem.find(folder, detail=True, on_error="raise")
            return tuple(self._file(path, found[path]) for path in sorted(found) if matches(path))
        except FileNotFoundError:
            return ()
        except Exception as error:
            if not isinstance(error, (OSError, EOFError)) and not broke_off(error):
                raise
            raise _unreachable(self.shown(read), error) from error

    def read(self, table: Table, file: File) -> Iterator[pa.RecordBatch]:
        """All rows of a file in its own order, as declared.

        Raises:
            ContractError: The file cannot be read to its end, or is not as declared.
            FileStoreError: The store broke off.
        """
        assert isinstance(table.read, Files)
        try:
            with ExitStack() as opened:
                for inner, stream in self._contents(file, opened):
                    yield from self._rows(table, file, inner, stream, opened)
        except Exception as error:
            if _STORE_FAILED in str(error) or broke_off(error):
                raise _unreachable(file.url, error) from error
            if not isinstance(error, _BROKEN):
                raise
            raise contracts.violated(
                file.url,
                f"cannot be read: {first_line(error)}",
                accepted=formats.DESCRIBED[table.read.format],
                table=table.name,
            ) from error

    def _rows(
        self, table: Table, file: File, inner: str, stream: IO[bytes], opened: ExitStack
    ) -> Iterator[pa.RecordBatch]:
        def again() -> IO[bytes]:
            anew = self._contents(file, opened)
            opened.callback(anew.close)
            return next(stream for name, stream in anew if name == inner)

        assert isinstance(table.read, Files)
        url = f"{file.url}{inner}"
        match table.read.format:
            case "csv":
                return formats.read_csv(table, url, stream, again)
            case "jsonl":
                return formats.read_jsonl(table, url, stream, again)
            case "excel":
                return formats.read_excel(table, url, stream, file.size_bytes)
            case "parquet":
                return formats.read_parquet(table, url, stream)

    def _contents(self, file: File, opened: ExitStack) -> Generator[tuple[str, IO[bytes]]]:
        stream = opened.enter_context(self._filesystem.open(f"{self._root}/{file.path}", "rb"))
        return contents(file.path, stream, file.size_bytes)

    def _file(self, path: str, details: dict[str, Any]) -> File:
        inner = path.removeprefix(f"{self._root}/")
        url = f"{self._shown}/{inner}"
        if self._local and not os.path.realpath(path).startswith(f"{os.path.realpath(self._root)}/"):
            raise contracts.violated(url, "is a link to a file outside of the folder", accepted="files in it")
        return File(inner, url, self._version(path, details), int(details["size"]))

    def _version(self, path: str, details: dict[str, Any]) -> str:
        if isinstance(self._filesystem, ArrowFSWrapper):
            with self._filesystem.fs.open_input_stream(path) as stream:
                tag = {key.lower(): value for key, value in stream.metadata().items()}["etag"]
            return str(tag.decode()).strip('"')
        if self._local:
            return str(self._filesystem.ukey(path))
        return f"{details['size']}-{details['mtime'].isoformat()}"


def _s3(settings: Settings) -> S3FileSystem:
    return S3FileSystem(
        access_key=settings.s3_access_key_id,
        secret_key=settings.s3_secret_access_key.get_secret_value(),
        endpoint_override=settings.s3_endpoint,
        region=settings.s3_region,
        connect_timeout=10,
        request_timeout=60,
    )


def _unreachable(shown: str, error: Exception) -> FileStoreError:
    return FileStoreError(
        f"{shown}: the store did not give it: {first_line(error)}.",
        remedy="See that it answers, and that its address and keys (HEADRACE_*) are right.",
    )
