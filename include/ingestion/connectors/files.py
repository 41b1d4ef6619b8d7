"""Files and object stores through fsspec: CSV and Parquet, gzip or plain, as Arrow batches."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.utils import glob_translate
from pyarrow.fs import S3FileSystem

from include.ingestion import contracts
from include.settings import Settings
from include.spec.errors import HeadraceError
from include.spec.reads import Files
from include.spec.source import Table

BLOCK_SIZE_BYTES = 8 * 2**20
BATCH_ROWS = 131_072
# Arrow's errors of S3 and of broken content are of one class; these words are in the former only.
_STORE_FAILED = "AWS Error"
_MAGIC = re.compile(r"[*?\[]")
_CSV_COLUMN = re.compile(r"In CSV column #(\d+): ")


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
    """A bucket (or a folder, given as a `file://` URL) that files are read from."""

    def __init__(self, settings: Settings, bucket_setting: str) -> None:
        place = str(getattr(settings, bucket_setting))
        if "://" in place:
            self._filesystem, self._root = fsspec.core.url_to_fs(place)
            self._shown = place.rstrip("/")
        else:
            self._filesystem, self._root = ArrowFSWrapper(_s3(settings)), place
            self._shown = f"s3://{place}"

    def shown(self, read: Files) -> str:
        """The pattern with its bucket, for people."""
        return f"{self._shown}/{read.pattern}"

    def matching(self, read: Files) -> tuple[File, ...]:
        """The files of a pattern, in order of their names.

        Raises:
            FileStoreError: They cannot be listed.
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
        except OSError as error:
            raise _unreachable(self.shown(read), error) from error

    def read(self, table: Table, file: File) -> Iterator[pa.RecordBatch]:
        """All rows of a file in its own order, as declared.

        Raises:
            ContractError: The file cannot be read to its end, or is not as declared.
            FileStoreError: The store broke off.
        """
        assert isinstance(table.read, Files)
        batches = _csv if table.read.format == "csv" else _parquet
        try:
            with self._filesystem.open(f"{self._root}/{file.path}", "rb") as stream:
                yield from batches(table, file, stream)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, OSError) as error:
            if _STORE_FAILED in str(error):
                raise _unreachable(file.url, error) from error
            raise contracts.violated(
                file.url,
                f"cannot be read: {_first_line(error)}",
                accepted=_form(table.read),
                table=table.name,
            ) from error

    def _file(self, path: str, details: dict[str, Any]) -> File:
        inner = path.removeprefix(f"{self._root}/")
        return File(inner, f"{self._shown}/{inner}", self._version(path), int(details["size"]))

    def _version(self, path: str) -> str:
        if isinstance(self._filesystem, ArrowFSWrapper):
            with self._filesystem.fs.open_input_stream(path) as stream:
                tag = {key.lower(): value for key, value in stream.metadata().items()}["etag"]
            return str(tag.decode()).strip('"')
        return str(self._filesystem.ukey(path))


def _s3(settings: Settings) -> S3FileSystem:
    return S3FileSystem(
        access_key=settings.s3_access_key_id,
        secret_key=settings.s3_secret_access_key.get_secret_value(),
        endpoint_override=settings.s3_endpoint,
        region=settings.s3_region,
        connect_timeout=10,
        request_timeout=60,
    )


def _csv(table: Table, file: File, stream: Any) -> Iterator[pa.RecordBatch]:
    schema = contracts.arrow_schema(table)
    raw = pa.PythonFile(stream, mode="r")
    if file.path.endswith(".gz"):
        raw = pa.CompressedInputStream(raw, "gzip")
    buffered = io.BufferedReader(raw, BLOCK_SIZE_BYTES)
    names = next(csv.reader([buffered.readline().decode("utf-8-sig")]), [])
    contracts.check_names(table, names, file.url)
    if not buffered.peek(1):
        return
    # Without threads the error of a bad value carries its row; the files themselves are read in parallel.
    options = pa_csv.ReadOptions(block_size=BLOCK_SIZE_BYTES, use_threads=False, column_names=names)
    convert = pa_csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        reader = pa_csv.open_csv(
            pa.PythonFile(buffered, mode="r"), read_options=options, convert_options=convert
        )
        for batch in reader:
            yield contracts.conform(table, schema, batch, file.url)
    except pa.ArrowInvalid as error:
        raise _csv_violation(table, file, names, error) from error


def _csv_violation(
    table: Table, file: File, names: list[str], error: pa.ArrowInvalid
) -> contracts.ContractError:
    """Arrow numbers the columns; people name them."""
    said = _first_line(error)
    matched = _CSV_COLUMN.search(said)
    name = names[int(matched[1])] if matched else ""
    if matched is None or name not in {column.name for column in table.columns}:
        return contracts.violated(
            file.url, f"cannot be read: {said}", accepted="CSV with a header line", table=table.name
        )
    what = f"column {name!r}: {said.replace(matched[0], '')}"
    return contracts.violated(file.url, what, accepted=table.column(name).type, table=table.name, column=name)


def _parquet(table: Table, file: File, stream: Any) -> Iterator[pa.RecordBatch]:
    schema = contracts.arrow_schema(table)
    reader = pq.ParquetFile(pa.PythonFile(stream, mode="r"))
    contracts.check_names(table, reader.schema_arrow.names, file.url)
    actual = {field.name: _plain(field.type) for field in reader.schema_arrow}
    accepted = {field.name: (_plain(field.type),) for field in schema}
    contracts.check_types(table, actual, accepted, file.url)
    for batch in reader.iter_batches(BATCH_ROWS, columns=schema.names):
        yield contracts.conform(table, schema, batch, file.url)


def _plain(kind: pa.DataType) -> str:
    """A type apart from how it is stored: dictionary, large string and unit of time are no difference."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind):
        kind = pa.string()
    if pa.types.is_timestamp(kind):
        return "timestamp with time zone" if kind.tz else "timestamp"
    return str(kind)


def _form(read: Files) -> str:
    return "CSV with a header line" if read.format == "csv" else "Parquet"


def _unreachable(shown: str, error: Exception) -> FileStoreError:
    return FileStoreError(
        f"{shown}: the store did not give it: {_first_line(error)}.",
        remedy="See that it answers, and that HEADRACE_S3_* are right.",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
