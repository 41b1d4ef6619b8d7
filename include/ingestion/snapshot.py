"""A snapshot of a table as files: Parquet parts and the manifest that says what they hold and where from.

In the lake: `raw/<source>/<table>/snapshot/<run>-<nnnnn>.parquet` beside `_manifest.json`. Readers take every
Parquet file of the folder (names with an underscore are no data to Spark and DuckDB's globs for `*.parquet`
alike); a change log lies beside it, in `changes/`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = "snapshot"
MANIFEST = "_manifest.json"
PART_ROWS = 2_000_000


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
    """
    parts: list[Part] = []
    writer: pq.ParquetWriter | None = None
    path, rows = folder, 0
    try:
        for batch in batches:
            if batch.num_rows == 0:
                continue
            if writer is None:
                path, rows = folder / next(names), 0
                writer = pq.ParquetWriter(path, schema, compression="zstd", coerce_timestamps="us")
            writer.write_batch(batch)
            rows += batch.num_rows
            if rows >= part_rows:
                writer.close()
                writer = None
                parts.append(_part(path, rows))
    finally:
        if writer is not None:
            writer.close()
    if writer is not None:
        parts.append(_part(path, rows))
    return tuple(parts)


def _part(path: Path, rows: int) -> Part:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Part(path.name, rows, path.stat().st_size, digest)
