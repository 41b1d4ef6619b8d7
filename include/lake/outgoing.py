"""Files on their way to the lake: named, hashed, counted, and compared with what the store says it took."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from include.lake.errors import BadPath, CorruptParquet, UploadFailed
from include.lake.integrity import CHUNK, SHA256_KEY, Digests, combined_etag, digest_file
from include.lake.layout import DATA_SUFFIX
from include.lake.objects import ROWS_KEY
from include.lake.paths import joined

CONTENT_TYPE = "application/octet-stream"

Progress = Callable[[str, int], None]
"""Called from several threads with a lake path and the bytes of it that travelled since the last call;
negative where they have to travel again."""


@dataclass(frozen=True)
class Outgoing:
    """One file on its way: hashed before it travels, and refused by the store if it changed since.

    Args:
        path: In the lake.
        file: Where the bytes are.
        digests: Of the bytes, and of their parts where it travels in parts.
        metadata: What is kept with the object.
    """

    path: str
    file: Path
    digests: Digests
    metadata: Mapping[str, str]

    @property
    def rows(self) -> int:
        """Of a Parquet file; 0 for others."""
        return int(self.metadata.get(ROWS_KEY, 0))


def named_files(source: Path | Sequence[Path] | Mapping[str, Path], prefix: str) -> dict[str, Path]:
    """The files to upload by lake path.

    Raises:
        BadPath: A name that the lake must not hold, two files of one name, or something that is no file.
    """
    if isinstance(source, Path):
        pairs = [(file.relative_to(source).as_posix(), file) for file in _folder_files(source)]
    elif isinstance(source, Mapping):
        pairs = list(source.items())
    else:
        pairs = [(file.name, file) for file in source]
    named: dict[str, Path] = {}
    for name, file in pairs:
        path = joined(prefix, name)
        if path in named:
            raise BadPath(
                f"two files would become {path!r}",
                remedy="Give {name: file} instead of a list.",
                first=named[path],
                second=file,
            )
        if not file.is_file():
            raise BadPath(f"{file} is not a file", remedy="Give a file, or a folder by itself.", path=path)
        named[path] = file
    return named


def read_outgoing(path: str, file: Path, part_bytes: int = 0) -> Outgoing:
    """Hash a file, as a whole or in parts, and count its rows.

    Args:
        path: In the lake.
        file: Where the bytes are.
        part_bytes: The size of the parts in which it travels; 0 if it travels as a whole.

    Raises:
        CorruptParquet: It is named .parquet and is none.
    """
    digests = digest_file(file, md5=not part_bytes, part_bytes=part_bytes)
    metadata = {SHA256_KEY: digests.sha256}
    if path.endswith(DATA_SUFFIX):
        metadata[ROWS_KEY] = str(_parquet_rows(file))
    return Outgoing(path, file, digests, metadata)


class CountedFile:
    """A file, or a piece of one, as the body of a request, that tells of the bytes read from it.

    Args:
        outgoing: Which file.
        progress: Who is told.
        first: Where the piece starts.
        size_bytes: Its length.
    """

    def __init__(self, outgoing: Outgoing, progress: Progress | None, first: int, size_bytes: int) -> None:
        self._path, self._progress = outgoing.path, progress
        self._left_bytes = size_bytes
        self._sent_bytes = 0
        self._file = outgoing.file.open("rb")
        self._file.seek(first)

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        wanted = min(size if size > 0 else self._left_bytes, self._left_bytes, CHUNK)
        chunk = self._file.read(wanted)
        self._left_bytes -= len(chunk)
        self._tell(len(chunk))
        return chunk

    def _tell(self, size_bytes: int) -> None:
        self._sent_bytes += size_bytes
        if self._progress is not None and size_bytes:
            self._progress(self._path, size_bytes)

    def __enter__(self) -> "CountedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is not None:
            self._tell(-self._sent_bytes)


def check_taken(outgoing: Outgoing, etag: str, *, opaque: bool, part: int | None = None) -> None:
    """Whether the store took what was sent, as far as its tag tells.

    Raises:
        UploadFailed: It took something else.
    """
    digests = outgoing.digests
    if part is not None:
        sent = digests.part_md5s[part].hex()
    elif "-" in etag:
        sent = combined_etag(digests.part_md5s)
    else:
        sent = digests.md5
    if opaque or len(etag) != len(sent):  # no tag of a form that says something of the bytes
        return
    if etag.lower() != sent:
        raise UploadFailed(
            f"the object store took other bytes than were sent: {etag} for {sent}",
            remedy="Did the file change meanwhile? Nothing was staged; upload it again.",
            file=outgoing.file,
            path=outgoing.path,
        )


def content_md5(md5: bytes) -> str:
    """The value of a Content-MD5 header: the store refuses bytes that are not these."""
    return base64.b64encode(md5).decode()


def _folder_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadPath(f"{folder} is not a folder", remedy="Give a folder, a list of files, or {name: file}.")
    # Hidden files are bookkeeping of the engines that wrote the folder, such as Spark's checksums.
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _parquet_rows(file: Path) -> int:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        return int(pq.read_metadata(file).num_rows)
    except (ArrowException, OSError) as error:
        raise CorruptParquet(
            f"{file} is not readable as Parquet: {str(error).splitlines()[0]}",
            remedy="Write it again; it was not staged.",
            file=file,
        ) from error
