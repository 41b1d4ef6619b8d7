"""A snapshot of a table as files: Parquet parts and the manifest that says what they hold and where from.

In the lake: `raw/<source>/<table>/snapshot/<run>-<nnnnn>.parquet` beside `_manifest.json`. Readers take every
Parquet file of the folder (names with an underscore are no data to Spark and DuckDB's globs for `*.parquet`
alike); a change log lies beside it, in `changes/`.
"""

import errno
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.spec.errors import HeadraceError

NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
FOLDER = "snapshot"
MANIFEST = "_manifest.json"
PART_ROWS = 2_000_000


class DiskFullError(HeadraceError):
    """There is no room for what is read."""


@dataclass(frozen=True)
class Part:
    """One Parquet file of a snapshot.

    Args:
        name: File name; carries the run that wrote it.
        rows: Rows in it.
        size_bytes: Its length.
        sha256: Of its bytes; the same rows always make the same bytes.
        origin: File that its rows came from; empty for a database.
        version: The store's mark of that file's content when it was read.
    """

    name: str
    rows: int
    size_bytes: int
    sha256: str
    origin: str = ""
    version: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds.

    Args:
        contract: Hash of the declaration that it was written under.
        parts: Its files, in order.
    """

    contract: str
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Rows in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def size_bytes(self) -> int:
        """Length of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def digest(self) -> str:
        """SHA-256 over contract and content; names and origins do not count."""
        return hashlib.sha256(
            "\n".join([self.contract, *(part.sha256 for part in self.parts)]).encode()
        ).hexdigest()

    def to_json(self) -> str:
        """The text of the manifest file."""
        parts = [asdict(part) for part in self.parts]
        document = {"contract": self.contract, "digest": self.digest, "rows": self.rows, "parts": parts}
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """The manifest of such a text."""
        document = json.loads(text)
        return cls(document["contract"], tuple(Part(**part) for part in document["parts"]))


def write_parts(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    names: Iterator[str],
    *,
    part_rows: int = PART_ROWS,
) -> tuple[Part, ...]:
    """Write batches as zstd Parquet files, a new one after each `part_rows`; holds one batch at a time.

    Times are microseconds: Spark refuses anything finer.

    Args:
        schema: Of the batches.
        batches: The rows; no file is made where there are none.
        folder: Where to.
        names: The next file names.
        part_rows: A part is closed once it holds this many.

    Raises:
        DiskFullError: There is no room.
    """
    parts: list[Part] = []
    full = (batch for batch in batches if batch.num_rows)
    for batch in full:
        path = folder / next(names)
        rows = _write_part(schema, itertools.chain([batch], full), path, part_rows)
        parts.append(described(path, rows))
    return tuple(parts)


def _write_part(schema: pa.Schema, batches: Iterable[pa.RecordBatch], path: Path, part_rows: int) -> int:
    """Write one file; how many rows it took before it was full or the batches ended."""
    rows = 0
    with room(path), pq.ParquetWriter(path, schema, compression="zstd", coerce_timestamps="us") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
            if rows >= part_rows:
                break
    return rows


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Tell of a full disk as what it is, while a file is written.

    Raises:
        DiskFullError: There is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        free = shutil.disk_usage(path.parent).free
        raise DiskFullError(
            f"There is no room for {path.name}: {free // 2**20} MiB are free in {path.parent}.",
            remedy="Free some space, or set HEADRACE_HOME to another disk. Nothing was published.",
        ) from error


def described(path: Path, rows: int) -> Part:
    """What a manifest says of a file that was written.

    Args:
        path: Where it is.
        rows: Rows in it.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Part(path.name, rows, path.stat().st_size, digest)
