"""Staging: a change log in the lake to current state and history on a draft, against a plain DuckDB window.

The floor takes the same files from a local folder and writes the same two tables as one file each: one
window over all changes, without values that were left out, shapes, late files, buckets, hashes or a lake.
Ours runs in one Spark; what its start takes stands apart, and so does its first table, for which Java
compiles everything.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from bench.report import Report
from bench.servers import serving
from include.features.spark_jobs.session import spark_session
from include.features.staged import StagedTable, stage_table
from include.features.staged_log import current_prefix, history_prefix
from include.ingestion.change_log import SHAPE_KEY, raw_folder, shape_text
from include.ingestion.pgoutput.changes import (
    DELETE,
    INSERT,
    READ,
    UPDATE,
    Layout,
    operations,
    special_column,
    unchanged_column,
)
from include.ingestion.pgoutput.shape import ShapeColumn, TableShape
from include.lake import Lake, commit_draft, merge_draft, open_draft, upload
from include.lake.objects import list_objects
from include.settings import Settings
from include.sources.retail import PRODUCTS, TRANSACTIONS
from include.spec.refs import DraftRef
from include.spec.source import Source
from include.spec.verdict import Verdict
from include.stack.java import java_home

KEY = ("basket_id", "product_id")
_TYPES = {
    "household_id": ("int4", 23, -1),
    "store_id": ("int4", 23, -1),
    "basket_id": ("int8", 20, -1),
    "product_id": ("int4", 23, -1),
    "quantity": ("int4", 23, -1),
    "sales_value": ("numeric", 1700, 10 << 16 | 6),
    "week": ("int2", 21, -1),
    "transaction_timestamp": ("timestamp", 1114, -1),
}
SHAPE = TableShape(
    relation_id=1,
    schema_name="public",
    table=TRANSACTIONS.name,
    identity="default",
    columns=tuple(ShapeColumn(name, *of, name in KEY) for name, of in _TYPES.items()),
)
LAYOUT = Layout.of(SHAPE, {})
_ROWS = """
    SELECT 1 + n % 2469 AS household_id, 300 + n % 400 AS store_id, 31198459000 + n // 7 AS basket_id,
        819000 + n % 9999991 AS product_id, 1 + (n + $edition) % 5 AS quantity,
        (((n + $edition) % 2000) / 100.0)::DECIMAL(10,2) AS sales_value, 1 + n // 20000 % 53 AS week,
        TIMESTAMP '2017-01-01' + to_seconds(n * 20) AS transaction_timestamp
    FROM unnest($numbers::BIGINT[]) t(n)
"""
SOURCE = Source(
    name="bench", owner="b@retailer.example", description="Baskets.", tables=(TRANSACTIONS, PRODUCTS)
)
_PASSED = Verdict(passed=True, suite_hash="0" * 64, checked=1)
_FLOOR = """
    CREATE OR REPLACE TEMP TABLE versions AS
    WITH events AS (
        SELECT operation, commit_lsn, committed_at, row, coalesce(row.basket_id, old.basket_id) AS basket_id,
            coalesce(row.product_id, old.product_id) AS product_id, coalesce(sequence, -1) AS place
        FROM read_parquet($files)
    )
    SELECT *, lead(commit_lsn) OVER later AS to_lsn, lead(committed_at) OVER later AS valid_to
    FROM events
    WINDOW later AS (PARTITION BY basket_id, product_id ORDER BY commit_lsn, place)
    QUALIFY operation <> 'delete'
"""
_FLOOR_HISTORY = """
    COPY (SELECT unnest(row), committed_at AS valid_from, valid_to, commit_lsn AS from_lsn, to_lsn
    FROM versions ORDER BY basket_id, product_id, commit_lsn) TO '{file}' (FORMAT parquet, COMPRESSION zstd)
"""
_FLOOR_CURRENT = """
    COPY (SELECT unnest(row) FROM versions WHERE to_lsn IS NULL ORDER BY basket_id, product_id)
    TO '{file}' (FORMAT parquet, COMPRESSION zstd)
"""


@dataclass(frozen=True)
class Spent:
    """What an act took: wall time, and that of all processors, Java's included."""

    seconds: float
    cpu_s: float


@dataclass
class Log:
    """A change log in the lake that grows, and the same files in a folder."""

    lake: Lake
    settings: Settings
    folder: Path
    rows: int = 0
    changes: int = 0
    files: int = 0

    def load(self, rows: int) -> None:
        """What the table held when its capture began."""
        self._bring([_batch(READ, np.arange(rows), 0, 100, None)])
        self.rows = rows

    def live(self, changes: int) -> None:
        """One window more: rows come, others are corrected, some taken back; spread over all keys."""
        count, lsn = max(changes // 5, 1), 1000 * (self.files + 1)
        step = max(self.rows // (3 * count), 1)
        known = np.arange(0, 3 * count * step, step) % self.rows
        new = np.arange(self.rows, self.rows + 2 * count)
        parts = [
            (INSERT, new),
            (UPDATE, np.unique(known[: 2 * count])),
            (DELETE, np.setdiff1d(known[2 * count :], known[: 2 * count])),
        ]
        first, batches = 0, []
        for operation, numbers in parts:
            batches.append(_batch(operation, numbers, self.files, lsn, first))
            first += len(numbers)
        self._bring(batches)
        self.rows += 2 * count

    def _bring(self, batches: Sequence[pa.RecordBatch]) -> None:
        lsn = batches[0].column("commit_lsn")[0].as_py()
        name = f"{lsn - 1:016X}-{lsn:016X}-00000.parquet"
        schema = LAYOUT.schema.with_metadata(
            {**LAYOUT.schema.metadata, SHAPE_KEY: shape_text(SHAPE).encode()}
        )
        table = pa.Table.from_batches(batches).cast(schema)
        pq.write_table(table, self.folder / name, compression="zstd")
        draft = open_draft(self.lake, uuid.uuid4().hex, "bench", restart=True)
        upload(self.lake, draft, {name: self.folder / name}, raw_folder(SOURCE.name, TRANSACTIONS.name))
        self._publish(draft)
        self.changes += table.num_rows
        self.files += 1

    def stage(self, session: Callable[[], Any], *, anew: bool = False) -> StagedTable:
        """Ours, published."""
        draft = open_draft(self.lake, uuid.uuid4().hex, "bench", restart=True)
        done = stage_table(self.lake, self.settings, draft, SOURCE, TRANSACTIONS, session, anew=anew)
        assert done is not None
        if done.changed:
            self._publish(draft)
        return done

    def held(self) -> tuple[int, int]:
        """Rows of history and current state on main."""
        prefixes = (of(SOURCE.name, TRANSACTIONS.name) for of in (history_prefix, current_prefix))
        stats = [list_objects(self.lake, self.lake.head(), prefix) for prefix in prefixes]
        history, current = (sum(stat.rows or 0 for stat in of) for of in stats)
        return history, current

    def floor(self, output: Path) -> tuple[int, int]:
        """DuckDB over the same files; rows of history and current state."""
        import duckdb

        files = [str(path) for path in sorted(self.folder.glob("*.parquet"))]
        with duckdb.connect() as connection:
            connection.execute(_FLOOR, {"files": files})
            rows = [
                connection.execute(statement.format(file=output / "floor.parquet")).fetchall()
                for statement in (_FLOOR_HISTORY, _FLOOR_CURRENT)
            ]
        return rows[0][0][0], rows[1][0][0]

    def _publish(self, draft: DraftRef) -> None:
        commit_draft(self.lake, draft, "Bench", {}, _PASSED)
        merge_draft(self.lake, draft)


def _batch(
    operation: int, numbers: "np.typing.NDArray[np.int64]", edition: int, lsn: int, first: int | None
) -> pa.RecordBatch:
    """Changes of one kind to the rows of these numbers; in a transaction they begin at the place `first`."""
    import duckdb

    with duckdb.connect() as connection:
        asked = {"numbers": numbers.tolist(), "edition": edition}
        rows: pa.Table = connection.sql(_ROWS, params=asked).to_arrow_table()
    count = len(numbers)

    def struct(name: str) -> pa.Array:
        fields = list(LAYOUT.schema.field(name).type)
        columns = [rows.column(field.name).combine_chunks().cast(field.type) for field in fields]
        return pa.StructArray.from_arrays(columns, fields=fields)

    none, lsns = np.zeros(0, np.intp), pa.array(np.full(count, lsn))
    at = pa.array([1_483_228_800_000_000 + lsn]).cast(LAYOUT.schema.field("committed_at").type)[0]
    columns = {
        "operation": operations(np.full(count, operation, np.int8)),
        "lsn": lsns,
        "commit_lsn": lsns,
        "unchanged": unchanged_column(count, none, pa.array([], pa.string())),
        "special": special_column(count, none, pa.array([], pa.string()), pa.array([], pa.string())),
    }
    if first is not None:
        columns |= {
            "sequence": pa.array(np.arange(first, first + count)),
            "transaction_id": lsns,
            "committed_at": pa.repeat(at, count),
        }
    columns["old" if operation == DELETE else "row"] = struct("old" if operation == DELETE else "row")
    data = [columns.get(field.name) for field in LAYOUT.schema]
    filled = [
        pa.nulls(count, field.type) if array is None else array
        for array, field in zip(data, LAYOUT.schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(filled, schema=LAYOUT.schema)


def spent(act: Callable[[], Any]) -> Spent:
    """Do it, and tell what it took."""
    before, started = _cpu_s(), time.perf_counter()
    act()
    return Spent(time.perf_counter() - started, _cpu_s() - before)


def _cpu_s() -> float:
    us = psutil.Process()
    times = [one.cpu_times() for one in (us, *us.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def run(report: Report, work: Path, *, quick: bool) -> None:
    """Measure the start of Spark, a first table, a whole log, and small windows on what is there."""
    rows, window, rounds = (5_000, 200, 1) if quick else (500_000, 1_000, 3)
    with log(work) as grown, contextlib.ExitStack() as held:
        grown.load(rows)
        grown.live(rows // 10)
        sessions: list[Any] = []

        def ours(*, anew: bool = False) -> None:
            grown.stage(lambda: sessions[0], anew=anew)

        start = spent(lambda: sessions.append(held.enter_context(spark_session(grown.settings))))
        first = spent(ours)
        logged = grown.changes
        whole = [spent(lambda: ours(anew=True)) for _ in range(rounds)]
        floor = [spent(lambda: grown.floor(work)) for _ in range(rounds)]
        more = []
        for _ in range(rounds):
            grown.live(window)
            more.append(spent(ours))
        floor_of_more = [spent(lambda: grown.floor(work)) for _ in range(rounds)]
        table = [
            _line("start of Spark", 0, [start]),
            _line("first table", logged, [first]),
            _line("the whole log", logged, whole),
            _line("the whole log, plain DuckDB", logged, floor),
            _line("one window more", grown.changes, more),
            _line("one window more, plain DuckDB from the whole log", grown.changes, floor_of_more),
            _line("nothing new", grown.changes, [spent(ours) for _ in range(rounds)]),
        ]
        assert grown.held() == grown.floor(work), "both say the same"
    report.show("from a change log to current state and history", table)
    ratios = [_ratio("the whole log", whole, floor), _ratio("one window more", more, floor_of_more)]
    report.show("times of ours / of plain DuckDB", ratios)


def _least(times: Sequence[Spent]) -> Spent:
    """The least disturbed one."""
    return min(times, key=lambda one: one.seconds)


def _line(what: str, changes: int, times: Sequence[Spent]) -> dict[str, Any]:
    least = _least(times)
    return {"what": what, "changes of the log": changes, "seconds": least.seconds, "CPU s": least.cpu_s}


def _ratio(what: str, ours: Sequence[Spent], floor: Sequence[Spent]) -> dict[str, Any]:
    one, other = _least(ours), _least(floor)
    return {
        "what": what,
        "seconds": one.seconds / other.seconds,
        "CPU s": one.cpu_s / max(other.cpu_s, 0.01),
    }


@contextlib.contextmanager
def log(work: Path) -> Iterator[Log]:
    """An empty log on a lake server of its own, over a folder."""
    with serving(work, "local") as servers:
        home = work / "home"
        settings = servers.settings(home, "staging").model_copy(update={"java_home": str(java_home(home))})
        folder = work / "log"
        folder.mkdir()
        yield Log(Lake.prepare(settings), settings, folder)
