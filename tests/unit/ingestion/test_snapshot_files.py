"""The Parquet parts of a snapshot and their manifest."""

import itertools
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.ingestion.snapshot import Manifest, Part, write_parts

SCHEMA = pa.schema([pa.field("id", pa.int32(), nullable=False), pa.field("at", pa.timestamp("us"))])


def batches(count, rows=10):
    for number in range(count):
        ids = pa.array(range(number * rows, (number + 1) * rows), pa.int32())
        yield pa.RecordBatch.from_arrays([ids, pa.nulls(rows, pa.timestamp("us"))], schema=SCHEMA)


def names(stem="run"):
    return (f"{stem}-{number:05d}.parquet" for number in itertools.count())


def test_parts_hold_every_row_in_order_and_are_zstd_with_microseconds(tmp_path):
    parts = write_parts(SCHEMA, batches(10), tmp_path, names(), part_rows=35)
    assert [part.rows for part in parts] == [40, 40, 20]
    assert [part.name for part in parts] == ["run-00000.parquet", "run-00001.parquet", "run-00002.parquet"]
    table = pa.concat_tables(pq.read_table(tmp_path / part.name) for part in parts)
    assert table.column("id").to_pylist() == list(range(100))
    first = pq.ParquetFile(tmp_path / parts[0].name)
    assert first.metadata.row_group(0).column(0).compression == "ZSTD"
    assert first.schema_arrow == SCHEMA


def test_the_same_rows_make_the_same_bytes_under_any_name(tmp_path):
    one = write_parts(SCHEMA, batches(3), tmp_path, names("monday"))
    two = write_parts(SCHEMA, batches(3), tmp_path, names("tuesday"))
    assert one[0].name != two[0].name
    assert [part.sha256 for part in one] == [part.sha256 for part in two]
    assert Manifest("c", one).digest == Manifest("c", two).digest


def test_no_rows_make_no_file(tmp_path):
    empty = pa.RecordBatch.from_arrays(
        [pa.array([], pa.int32()), pa.array([], pa.timestamp("us"))], schema=SCHEMA
    )
    assert write_parts(SCHEMA, [empty], tmp_path, names()) == ()
    assert list(tmp_path.iterdir()) == []


def test_the_writer_holds_one_batch_at_a_time(tmp_path):
    alive, peak = 0, 0

    class Counted:
        def __del__(self):
            nonlocal alive
            alive -= 1

    def counted():
        nonlocal alive, peak
        for batch in batches(20):
            alive += 1
            peak = max(peak, alive)
            # The buffer keeps its owner alive as long as the batch is held.
            owner = Counted()
            yield _owned(batch, owner)
            del batch, owner

    write_parts(SCHEMA, counted(), tmp_path, names())
    assert peak <= 3


def _owned(batch, owner):
    ids = batch.column(0).buffers()[1]
    buffer = pa.foreign_buffer(ids.address, ids.size, base=(ids, owner))
    return pa.RecordBatch.from_arrays(
        [pa.Array.from_buffers(pa.int32(), batch.num_rows, [None, buffer]), batch.column(1)], schema=SCHEMA
    )


def test_a_broken_stream_breaks_the_write(tmp_path):
    def broken():
        yield from batches(2)
        raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        write_parts(SCHEMA, broken(), tmp_path, names())


def test_a_manifest_reads_back_and_its_digest_follows_content_and_contract():
    part = Part("run-00000.parquet", 3, 100, "aa", "orders/1.csv", "etag")
    manifest = Manifest("contract", (part,))
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["rows"] == 3
    assert Manifest("other", (part,)).digest != manifest.digest
    assert Manifest("contract", (Part("x", 3, 100, "bb"),)).digest != manifest.digest
    assert Manifest("contract", (Part("x", 3, 100, "aa"),)).digest == manifest.digest


_FILL = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from include.ingestion.snapshot import DiskFullError, write_parts
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
schema = pa.schema([("id", pa.binary())])
noise = (pa.record_batch([pa.array([os.urandom(500_000)])], schema=schema) for _ in range(3))
try:
    write_parts(schema, noise, Path(sys.argv[1]), iter(["part.parquet"]))
except DiskFullError as error:
    print(error)
"""


def test_a_full_disk_is_one_error_with_the_remedy(tmp_path):
    # A limit on the size of a file refuses a write as a full disk does.
    done = subprocess.run([sys.executable, "-c", _FILL, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("There is no room for part.parquet: ")
    assert "HEADRACE_HOME" in done.stdout
    assert len(done.stdout.splitlines()) == 1
