"""Verdicts and files that the tests of the lake share, importable by the processes that they start."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.lake import Lake
from include.lake.objects import Ref, list_objects
from include.lake.patience import Patience
from include.spec.verdict import Finding, Verdict

ORDERS = "raw/retail/orders"
STATION = "ingest_batch__retail"
PATIENCE = Patience(deadline_s=20.0)
SUITE_HASH = "5" * 64
PASSED = Verdict(passed=True, suite_hash=SUITE_HASH, checked=7)
REFUSED = Verdict(
    passed=False,
    suite_hash=SUITE_HASH,
    checked=7,
    findings=(Finding(ORDERS, "expect_column_values_to_be_unique: id", "3 of 10"),),
)


def write_orders(folder: Path, files: int = 2, rows: int = 10, first: int = 0) -> Path:
    """Parquet files of orders with ids from `first` on."""
    folder.mkdir(parents=True)
    for number in range(files):
        start = first + number * rows
        table = pa.table({"id": pa.array(range(start, start + rows), pa.int64())})
        pq.write_table(table, folder / f"part-{start:06}.parquet", compression="zstd")
    return folder


def paths(lake: Lake, ref: Ref, prefix: str = "") -> list[str]:
    """What lies under a prefix."""
    return [stat.path for stat in list_objects(lake, ref, prefix)]
