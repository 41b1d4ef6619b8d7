"""A table of PostgreSQL to Parquet: ours against plain ADBC and dlt, in the same run.

All three write zstd Parquet to a local folder, each in a process of its own, so that memory is its own; of
several rounds the least disturbed one counts, for all. Ours reads at one instant and in the order of the key,
holds every batch to its declaration, puts apart the rows that break its rules (one in 165, as in fact) and
hashes what it wrote; plain ADBC takes the rows as they lie, with numbers of fixed scale as text. dlt reads
through ConnectorX, the fastest of its ways.
"""

import multiprocessing
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from bench.report import Report
from include.sources.retail import TRANSACTIONS
from include.stack import postgres
from include.stack.credentials import password
from include.stack.ports import free_ports
from include.stack.server import running

ROLE = "retail"
ROUNDS = 3
# As many as the shop knows; `_ROW` sells these.
PRODUCTS = range(819_000, 819_000 + 92_331)
# At least so many times as fast as the other.
ADBC_RATIO, DLT_RATIO = 1.3, 1.5
# A table four times as large may take this much more memory.
MEMORY_RATIO = 1.25
_DDL = """
    CREATE TABLE transactions (
        household_id int NOT NULL, store_id int NOT NULL, basket_id bigint NOT NULL, product_id int NOT NULL,
        quantity int NOT NULL, sales_value numeric(10,2) NOT NULL, retail_disc numeric(10,2) NOT NULL,
        coupon_disc numeric(10,2) NOT NULL, coupon_match_disc numeric(10,2) NOT NULL,
        week smallint NOT NULL, transaction_timestamp timestamp NOT NULL, PRIMARY KEY (basket_id, product_id)
    )
"""
_ROW = """
    1 + n %% 2469, 300 + n %% 400, 31198459000 + n / 7, 819000 + n %% 92331,
    (n %% 165 > 0)::int * (1 + n %% 5), (n %% 2000) / 100.0, (n %% 100) / 100.0, 0, 0, 1 + n / 20000 %% 53,
    timestamp '2017-01-01' + n * interval '20 seconds'
"""


@dataclass(frozen=True)
class Run:
    """One table, read and written."""

    seconds: float
    rows: int
    peak_bytes: int


def ours(dsn: str, folder: Path) -> int:
    """What a landing does up to the files."""
    import pyarrow as pa

    from include.ingestion.ahead import ahead
    from include.ingestion.connectors.postgres import snapshot
    from include.ingestion.contracts import arrow_schema
    from include.ingestion.sieve import Origin, Sieve
    from include.ingestion.snapshot import write_parts

    names = (f"part-{number:05d}.parquet" for number in count())
    sieve = Sieve(TRANSACTIONS, folder, known={("products", "product_id"): pa.array(PRODUCTS, pa.int32())})
    with snapshot(dsn, "bench") as instant, closing(ahead(instant.read(TRANSACTIONS))) as batches:
        rows = sieve.passed(batches, Origin("", "bench", "apart.parquet"))
        published = sum(part.rows for part in write_parts(arrow_schema(TRANSACTIONS), rows, folder, names))
    assert 0 < sieve.rows_apart == sieve.rows_in - published
    return sieve.rows_in


def plain_adbc(dsn: str, folder: Path) -> int:
    """The shortest way: one query, each batch written as it comes."""
    import pyarrow.parquet as pq
    from adbc_driver_postgresql import dbapi

    rows = 0
    with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM transactions")
        reader = cursor.fetch_record_batch()
        with pq.ParquetWriter(folder / "plain.parquet", reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


def through_dlt(dsn: str, folder: Path) -> int:
    """A pipeline from one table to Parquet files of a folder."""
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt
    from dlt.destinations import filesystem
    from dlt.sources.sql_database import sql_table

    table = sql_table(
        dsn.replace("postgresql://", "postgresql+psycopg://"),
        table="transactions",
        backend="connectorx",
        reflection_level="full",
        backend_kwargs={"conn": dsn, "return_type": "arrow_stream"},
    )
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(folder / "state"),
        destination=filesystem(str(folder)),
        dataset_name="bench",
    )
    pipeline.run(table, loader_file_format="parquet")
    trace = pipeline.last_trace
    assert trace is not None
    assert trace.last_normalize_info is not None
    return int(trace.last_normalize_info.row_counts["transactions"])


READERS = {"ours": ours, "plain ADBC": plain_adbc, "dlt, ConnectorX": through_dlt}


def measured(name: str, dsn: str, folder: Path) -> Run:
    """One run, in the process that is asked for it; imports do not count, for none of them."""
    import adbc_driver_postgresql.dbapi  # noqa: F401
    import dlt.sources.sql_database  # noqa: F401

    from include.ingestion.batch import peak_memory_bytes

    folder.mkdir(parents=True)
    started = time.perf_counter()
    rows = READERS[name](dsn, folder)
    return Run(time.perf_counter() - started, rows, peak_memory_bytes())


def alone(name: str, dsn: str, folder: Path) -> Run:
    """The same in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measured, name, dsn, folder).result()


def filled(dsn: str, rows: int) -> None:
    """Rows like the shop's baskets, analysed as after some hours of a database's life."""
    statement = f"INSERT INTO transactions SELECT {_ROW} FROM generate_series(%s::bigint, %s::bigint) n"  # noqa: S608
    with psycopg.connect(dsn, autocommit=True) as connection:
        held = connection.execute("SELECT count(*) FROM transactions").fetchone()
        assert held is not None
        connection.execute(statement, (held[0], rows - 1))
        connection.execute("VACUUM ANALYZE transactions")


def run(report: Report, work: Path, *, quick: bool) -> None:
    """Measure all of them, ours at two sizes."""
    rows = 200_000 if quick else 1_600_000
    access = postgres.PostgresAccess(free_ports(1)[0], {role: password() for role in postgres.ROLES})
    with running(postgres.server(work / "postgres", access)):
        dsn = access.dsn(ROLE)
        with psycopg.connect(dsn) as connection:
            connection.execute(_DDL)
        filled(dsn, rows // 4)
        small = alone("ours", dsn, work / "small")
        filled(dsn, rows)
        best: dict[str, Run] = {}
        for number in range(1 if quick else ROUNDS):
            for name in READERS:
                found = alone(name, dsn, work / f"{number}-{name}")
                assert found.rows == rows, f"{name} read {found.rows:,} rows of {rows:,}"
                if name not in best or found.seconds < best[name].seconds:
                    best[name] = found
    told(report, best, small)


def told(report: Report, best: Mapping[str, Run], small: Run) -> None:
    """Show what was measured, and hold it to the claims."""
    mine = best["ours"]
    report.show(
        f"{mine.rows:,} rows of 11 columns, PostgreSQL to Parquet",
        [
            {
                "reader": name,
                "rows/s": one.rows / one.seconds,
                "seconds": one.seconds,
                "ours is faster": one.seconds / mine.seconds,
                "peak MiB": one.peak_bytes / 2**20,
            }
            for name, one in best.items()
        ],
    )
    adbc, peer = best["plain ADBC"], best["dlt, ConnectorX"]
    report.claim(f"time against plain ADBC, 1 in {ADBC_RATIO}", mine.seconds / adbc.seconds, 1 / ADBC_RATIO)
    report.claim(f"time against dlt, 1 in {DLT_RATIO}", mine.seconds / peer.seconds, 1 / DLT_RATIO)
    report.claim("memory of four times the rows", mine.peak_bytes / small.peak_bytes, MEMORY_RATIO)
