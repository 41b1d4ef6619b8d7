"""The change log of a table as files: Parquet parts named by the span of the log that they hold.

In the lake: `raw/<source>/<table>/changes/<from>-<to>-<nnnnn>.parquet`, where both positions are 16 digits of
hexadecimal, so that the order of the names is the order of the log. `_shape.json` beside them says what the
table was like at their end; what does not fit its declaration lies likewise under `quarantine/`.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion.pgoutput import ChangeBatch, ShapeColumn, TableShape
from include.ingestion.snapshot import PART_ROWS, room
from include.lake import Lake, upload
from include.lake.objects import Ref, read_bytes, stat_or_none
from include.spec.refs import DraftRef

FOLDER = "changes"
HELD = "held"
SHAPE = "_shape.json"
ENTRY = "publication_entry"
SHAPE_KEY = b"headrace:shape"
# They grow from change to change, which a dictionary knows nothing of: kept as differences, a log of narrow
# rows is a quarter smaller and takes a third less time to write.
_GROWING = ("lsn", "commit_lsn", "sequence", "transaction_id", "committed_at")
# Under the length of an object key and easy to read; the server prints positions as X/Y of the same digits.
_DIGITS = 16


def raw_folder(source: str, table: str) -> str:
    """Where the changes of a table lie."""
    return f"raw/{source}/{table}/{FOLDER}"


def quarantine_folder(source: str, table: str) -> str:
    """Where changes lie that do not fit the declaration of their table."""
    return f"quarantine/{source}/{table}/{FOLDER}"


def held_folder(source: str, table: str) -> str:
    """Where changes lie whose new row breaks a rule of their table."""
    return f"quarantine/{source}/{table}/{HELD}"


def span_name(first: int, last: int) -> str:
    """What the names of the files of a span of the log begin with."""
    return f"{first:0{_DIGITS}X}-{last:0{_DIGITS}X}"


def by_span(files: Mapping[str, Path]) -> dict[tuple[int, int], list[Path]]:
    """Files of a change log in their order, by the span of the log that each is of.

    Args:
        files: By their names.
    """
    found: dict[tuple[int, int], list[Path]] = {}
    for name, path in sorted(files.items()):
        first, last, _ = name.split("-")
        found.setdefault((int(first, 16), int(last, 16)), []).append(path)
    return found


@dataclass
class ChangeLog:
    """Writes changes of several folders of the lake, in order, to local files, and then onto a draft.

    Args:
        scratch: A folder of the caller's.
    """

    scratch: Path
    rows: dict[str, int] = field(default_factory=dict)
    _files: dict[str, list[Path]] = field(default_factory=dict)
    _open: dict[str, "_Part"] = field(default_factory=dict)
    _names: Iterator[int] = field(default_factory=itertools.count)

    def append(self, folder: str, batch: ChangeBatch) -> None:
        """Write changes behind those that are there; another shape begins another file.

        Raises:
            DiskFullError: There is no room.
        """
        if not batch.data.num_rows:
            return
        part = self._open.get(folder)
        if part is not None and (part.rows >= PART_ROWS or not part.shape.same_as(batch.shape)):
            self._end(folder)
            part = None
        if part is None:
            part = self._open[folder] = self._begin(batch)
            self._files.setdefault(folder, []).append(part.path)
        with room(part.path):
            part.writer.write_batch(batch.data)
        part.rows += batch.data.num_rows
        self.rows[folder] = self.rows.get(folder, 0) + batch.data.num_rows

    def take(self, other: "ChangeLog") -> None:
        """Let the files of another log follow those that are there."""
        self.close()
        other.close()
        for folder, files in other._files.items():
            self._files.setdefault(folder, []).extend(files)
            self.rows[folder] = self.rows.get(folder, 0) + other.rows[folder]

    def files(self, folder: str) -> int:
        """How many files a folder has."""
        return len(self._files.get(folder, ()))

    def close(self) -> None:
        """End all files; again does nothing.

        Raises:
            DiskFullError: There is no room.
        """
        for folder in list(self._open):
            self._end(folder)

    def stage(
        self, lake: Lake, draft: DraftRef, first: int, last: int, behind: Mapping[str, int] | None = None
    ) -> None:
        """Put all files on the draft, named by the span of the log.

        Args:
            lake: The lake.
            draft: The run's own.
            first: Position behind which the log was read.
            last: Position up to which it was.
            behind: How many files of that span a folder has already, that these come behind.
        """
        self.close()
        span = span_name(first, last)
        for folder, files in self._files.items():
            numbers = itertools.count((behind or {}).get(folder, 0))
            names = (f"{span}-{number:05d}.parquet" for number in numbers)
            upload(lake, draft, dict(zip(names, files, strict=False)), folder)

    def _begin(self, batch: ChangeBatch) -> "_Part":
        path = self.scratch / f"{next(self._names):06d}.parquet"
        described = {SHAPE_KEY: shape_text(batch.shape).encode()}
        schema = batch.data.schema.with_metadata({**(batch.data.schema.metadata or {}), **described})
        with room(path):
            return _Part(_writer(path, schema), path, batch.shape)

    def _end(self, folder: str) -> None:
        part = self._open.pop(folder)
        with room(part.path):
            part.writer.close()


@dataclass
class _Part:
    writer: pq.ParquetWriter
    path: Path
    shape: TableShape
    rows: int = 0


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of changes; each column in the encoding that suits it."""
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    parquet = pq.ParquetFile(empty.getvalue()).schema
    leaves = [parquet.column(n).path for n in range(len(parquet))]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[leaf for leaf in leaves if leaf not in _GROWING],
        column_encoding=dict.fromkeys(_GROWING, "DELTA_BINARY_PACKED"),
    )


def read_shape(lake: Lake, ref: Ref, folder: str) -> tuple[TableShape, str] | None:
    """The shape of a table as its change log left it, and its entry in the publication; None for neither."""
    path = f"{folder}/{SHAPE}"
    if stat_or_none(lake, ref, path) is None:
        return None
    text = read_bytes(lake, ref, path).decode()
    return shape_of(text), str(json.loads(text).get(ENTRY, ""))


def shape_text(shape: TableShape, entry: str = "") -> str:
    """A shape as a document.

    Args:
        shape: The table.
        entry: What tells its entry in the publication from any later one.
    """
    return json.dumps({**asdict(shape), ENTRY: entry}, indent=1, ensure_ascii=False) + "\n"


def shape_of(text: str) -> TableShape:
    """The shape of such a document."""
    fields: dict[str, Any] = json.loads(text)
    fields.pop(ENTRY, None)
    columns = tuple(ShapeColumn(**column) for column in fields.pop("columns"))
    return TableShape(**fields, columns=columns)


def shape_in(schema: pa.Schema) -> TableShape:
    """The shape that a file of a change log says its changes are of."""
    return shape_of(schema.metadata[SHAPE_KEY].decode())
