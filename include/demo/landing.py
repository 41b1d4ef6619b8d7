"""Drop the promotions into the landing bucket: one gzipped CSV per week, as a marketing department would."""

import gzip
import io
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyarrow.fs import FileSelector, FileSystem, FileType, S3FileSystem

from include.demo import complete_journey
from include.demo.complete_journey import Slice
from include.ingestion.contracts import arrow_schema
from include.settings import Settings
from include.sources.retail import PROMOTIONS
from include.spec.reads import Files

# Week files compress 15 times at level 1; more would cost seconds and save little.
GZIP_LEVEL = 1
WORKERS = 2

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Dropped:
    """What the landing bucket holds after a drop.

    Args:
        files: How many weekly files.
        written: How many of them this drop wrote.
        rows: In the files that were written.
        seconds: What it took.
    """

    files: int
    written: int
    rows: int
    seconds: float

    @property
    def already(self) -> bool:
        """Whether every file was there, and nothing was done."""
        return self.written == 0


def drop(
    settings: Settings, part: Slice = complete_journey.WHOLE, progress: Progress | None = None
) -> Dropped:
    """Make sure that every weekly file is in the landing bucket; those that are there are kept.

    A file appears whole or not at all: it is one PUT. The last object written is a receipt that lists them.

    Args:
        settings: Where the bucket is.
        part: How much of the data.
        progress: Told the file and how many rows went in.
    """
    started = time.monotonic()
    store, folder = _bucket(settings)
    receipt = f"{folder}/_delivered.{part.name}.json"
    present = _present(store, folder)
    delivered = _receipt(store, receipt)
    if delivered is not None and delivered <= present:
        return Dropped(len(delivered), 0, 0, time.monotonic() - started)
    names: set[str] = set()
    rows = written = 0
    pending: list[Future[None]] = []
    with ThreadPoolExecutor(WORKERS) as workers:
        for week, table in _weeks(part):
            name = f"promotions_2017_week_{week:02d}.csv.gz"
            names.add(name)
            if name in present:
                continue
            while len(pending) > WORKERS:  # bounds how many weeks are held in memory
                pending.pop(0).result()
            pending.append(workers.submit(_put, store, f"{folder}/{name}", table))
            rows, written = rows + table.num_rows, written + 1
            if progress is not None:
                progress(name, table.num_rows)
        for future in pending:
            future.result()
    with store.open_output_stream(receipt) as stream:
        stream.write(json.dumps(sorted(names)).encode())
    return Dropped(len(names), written, rows, time.monotonic() - started)


def weekly_file(table: pa.Table) -> bytes:
    """One week's file: CSV with a header, gzipped without a time: the same rows are the same bytes."""
    text = io.BytesIO()
    pa_csv.write_csv(table, text, pa_csv.WriteOptions(quoting_style="needed"))
    return gzip.compress(text.getbuffer(), compresslevel=GZIP_LEVEL, mtime=0)


def _bucket(settings: Settings) -> tuple[FileSystem, str]:
    assert isinstance(PROMOTIONS.read, Files)
    folder = f"{settings.landing_bucket}/{PROMOTIONS.read.pattern.rsplit('/', 1)[0]}"
    store = filesystem(settings)
    store.create_dir(settings.landing_bucket)
    return store, folder


def filesystem(settings: Settings) -> FileSystem:
    """The store that the landing bucket is in."""
    return S3FileSystem(
        access_key=settings.s3_access_key_id,
        secret_key=settings.s3_secret_access_key.get_secret_value(),
        endpoint_override=settings.s3_endpoint,
        region=settings.s3_region,
        allow_bucket_creation=True,
    )


def _present(store: FileSystem, folder: str) -> set[str]:
    found = store.get_file_info(FileSelector(folder, allow_not_found=True))
    return {info.base_name for info in found if info.type == FileType.File and info.size > 0}


def _receipt(store: FileSystem, path: str) -> set[str] | None:
    if store.get_file_info(path).type != FileType.File:
        return None
    with store.open_input_stream(path) as stream:
        return set(json.loads(stream.read()))


def _put(store: FileSystem, path: str, table: pa.Table) -> None:
    # Arrow would compress a name that ends in .gz once more.
    with store.open_output_stream(path, compression=None) as stream:
        stream.write(weekly_file(table))


def _weeks(part: Slice) -> Iterator[tuple[int, pa.Table]]:
    """Each week's rows; the package has them in order of weeks, so one week is held at a time."""
    schema = arrow_schema(PROMOTIONS)
    held: list[pa.RecordBatch] = []
    week = 0
    for batch in complete_journey.read(PROMOTIONS.name, schema, part):
        for number in pc.unique(batch.column("week")).to_pylist():
            if held and number != week:
                yield week, pa.Table.from_batches(held, schema=schema)
                held = []
            week = number
            held.append(batch.filter(pc.equal(batch.column("week"), number)))
    if held:
        yield week, pa.Table.from_batches(held, schema=schema)
