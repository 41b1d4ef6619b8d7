"""Change data capture: from the log of PostgreSQL to files published on main, against `pg_recvlogical`.

The peer only takes the messages and throws them away; ours takes, decodes, types, writes Parquet, uploads,
commits and merges. Both read the same log through slots that begin at the same place. Each capture runs in a
process of its own, so that its memory is its own; of several rounds the least disturbed one counts, for both.
"""

import contextlib
import multiprocessing
import os
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from bench.report import Report, Samples
from bench.servers import serving
from include.ingestion.batch import Desk
from include.ingestion.cdc import capture, confirm
from include.lake import Lake, commit_draft, merge_draft, open_draft
from include.orchestration.following import Follower, Window
from include.settings import Settings
from include.sources.retail import PRODUCTS, TRANSACTIONS
from include.spec.capture import Capture
from include.spec.source import Source
from include.spec.verdict import Verdict
from include.stack import postgres
from include.stack.credentials import password
from include.stack.ports import free_ports
from include.stack.server import running

MIB = 2**20
NAME = "headrace_bench"
ROLE = "retail"
# At least so many times the rate of the peer.
BULK_RATIO, SINGLE_RATIO = 1.5, 1.0
# A backlog four times as large may take this much more memory.
MEMORY_RATIO = 1.25
# A commit of the source is visible on main within this time, 99 times in 100.
VISIBLE_S = 5.0
SOURCE = Source(
    name="bench",
    owner="bench@retailer.example",
    description="The shop's baskets, as the demo has them.",
    tables=(TRANSACTIONS, PRODUCTS),
    capture=Capture(dsn="retail_dsn", tables=(TRANSACTIONS.name,), publication=NAME, slot=NAME),
)
_DDL = """
    CREATE TABLE transactions (
        household_id int NOT NULL, store_id int NOT NULL, basket_id bigint NOT NULL, product_id int NOT NULL,
        quantity int NOT NULL, sales_value numeric(10,2) NOT NULL, retail_disc numeric(10,2) NOT NULL,
        coupon_disc numeric(10,2) NOT NULL, coupon_match_disc numeric(10,2) NOT NULL,
        week smallint NOT NULL, transaction_timestamp timestamp NOT NULL, PRIMARY KEY (basket_id, product_id)
    )
"""
_ROW = """
    1 + n % 2469, 300 + n % 400, 31198459000 + n / 7, 819000 + n % 9999991, 1 + n % 5, (n % 2000) / 100.0,
    (n % 100) / 100.0, 0, 0, 1 + n / 20000 % 53, timestamp '2017-01-01' + n * interval '20 seconds'
"""
_MANY = "INSERT INTO transactions SELECT {row} FROM generate_series({first}::bigint, {last}::bigint) n"
_SINGLE = """
    DO $$ DECLARE n bigint; BEGIN
        FOR n IN SELECT generate_series({first}::bigint, {last}::bigint) LOOP
            INSERT INTO transactions VALUES ({row});
            COMMIT;
        END LOOP;
    END $$
"""


@dataclass(frozen=True)
class Run:
    """One capture, published."""

    seconds: float
    rows: int
    peak_bytes: int


@dataclass
class Shop:
    """A database with one table that grows, and the lake that captures it."""

    access: postgres.PostgresAccess
    settings: Settings
    connection: psycopg.Connection[Any]
    written: int = 0

    def write(self, rows: int, *, per_transaction: int) -> None:
        """Insert rows, so many to a transaction."""
        step = rows if per_transaction == 1 else per_transaction
        statement = sql.SQL(_SINGLE if per_transaction == 1 else _MANY)
        for first in range(self.written, self.written + rows, step):
            last = min(first + step, self.written + rows) - 1
            bounds = {"first": sql.Literal(first), "last": sql.Literal(last)}
            self.connection.execute(statement.format(row=sql.SQL(_ROW), **bounds))
        self.written += rows

    def receive(self) -> float:
        """The peer: seconds that `pg_recvlogical` takes for all that the slot holds."""
        slot, end = f"peer_{uuid.uuid4().hex[:8]}", self._one("SELECT pg_current_wal_insert_lsn()::text")
        self.connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (NAME, slot))
        command = [str(postgres.binary("pg_recvlogical")), "--host", self.access.host]
        command += ["--port", str(self.access.port), "--username", ROLE, "--dbname", ROLE, "--no-loop"]
        command += ["--slot", slot, "--start", "--endpos", str(end), "--file", "-"]
        command += ["--option", "proto_version=1", "--option", f"publication_names={NAME}"]
        environment = {**os.environ, "PGPASSWORD": self.access.passwords[ROLE]}
        started = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=600)
        seconds = time.perf_counter() - started
        self.connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
        return seconds

    def capture(self) -> Run:
        """Ours, in a fresh process."""
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as processes:
            return processes.submit(capture_once, self.settings).result()

    def _one(self, statement: str) -> Any:
        row = self.connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


def run(report: Report, work: Path, *, quick: bool) -> None:
    """Measure bulk, one huge transaction and single rows, and the memory of a growing backlog."""
    rows, rounds = (20_000, 1) if quick else (1_000_000, 3)
    with shop(work) as source:
        source.capture()
        loads = [
            ("bulk, 10,000 rows a transaction", rows, 10_000, BULK_RATIO),
            ("bulk, all rows one transaction", rows, rows, BULK_RATIO),
            ("one row a transaction", rows // 5, 1, SINGLE_RATIO),
        ]
        table, peaks = [], {}
        for load, count, per_transaction, least in loads:
            pairs = [_round(source, count, per_transaction) for _ in range(rounds)]
            peer_s, ours_s = (min(times) for times in zip(*((p, o.seconds) for p, o in pairs), strict=True))
            peaks[load] = max(ours.peak_bytes for _, ours in pairs)
            table.append(_line(load, count, peer_s, ours_s))
            report.claim(f"{load}: time of ours / of pg_recvlogical", ours_s / peer_s, 1 / least)
        report.show("from the log to files on main, against pg_recvlogical to nowhere", table)
        _memory(report, source, rows, quick=quick)
        latency(report, source, commits=40 if quick else 400)


def _round(source: Shop, rows: int, per_transaction: int) -> tuple[float, Run]:
    source.write(rows, per_transaction=per_transaction)
    peer_s, ours = source.receive(), source.capture()
    assert ours.rows == rows, (ours.rows, rows)
    return peer_s, ours


def _line(load: str, rows: int, peer_s: float, ours_s: float) -> dict[str, Any]:
    return {
        "load": load,
        "rows": rows,
        "ours rows/s": rows / ours_s,
        "pg_recvlogical rows/s": rows / peer_s,
        "ours / pg_recvlogical rate": peer_s / ours_s,
    }


def _memory(report: Report, source: Shop, rows: int, *, quick: bool) -> None:
    """The peak of a capture, of a small and of a large backlog; both are larger than a few batches."""
    small, large = (rows, 4 * rows) if quick else (rows // 2, 2 * rows)
    table = []
    for count in (small, large):
        source.write(count, per_transaction=10_000)
        ours = source.capture()
        assert ours.rows == count, (ours.rows, count)
        table.append({"backlog, rows": count, "peak MiB": ours.peak_bytes / MIB, "seconds": ours.seconds})
    report.show("memory of a capture", table)
    report.claim(
        "peak memory, four times the backlog", table[1]["peak MiB"] / table[0]["peak MiB"], MEMORY_RATIO
    )


def latency(report: Report, source: Shop, *, commits: int, per_second: float = 20.0) -> None:
    """The time from a commit in the source to the merge that has it on main, at a steady rate.

    The first, for which the follower loads what it judges by, does not count.
    """
    committed: list[float] = []
    visible: list[float] = []
    warm, stop = threading.Event(), threading.Event()

    def heard(window: Window) -> None:
        visible.extend([time.perf_counter()] * window.captured.rows)
        warm.set()
        if len(visible) > commits:
            stop.set()

    lake = Lake.prepare(source.settings)
    follower = Follower(lake, source.settings, SOURCE, heard, stop)
    with ThreadPoolExecutor(1) as other:
        following = other.submit(follower.follow, for_s=commits / per_second + 120)
        source.write(1, per_transaction=1)
        warm.wait(60)
        began = time.perf_counter()
        for number in range(commits):
            time.sleep(max(began + number / per_second - time.perf_counter(), 0))
            source.write(1, per_transaction=1)
            committed.append(time.perf_counter())
        done = following.result()
    assert done.rows == commits + 1, (done.rows, commits)
    # Each is one row, and main has them in order.
    waited = Samples(tuple(there - then for then, there in zip(committed, visible[1:], strict=True)))
    figures = {"p50 s": waited.p50_s, "p99 s": waited.p99_s, "longest s": max(waited.times_s)}
    line = {"commits a second": per_second, "commits": commits, "of main": done.windows, **figures}
    report.show("from a commit in the source to visible on main", [line])
    report.claim(f"commit to visible on main: p99 / {VISIBLE_S:g} s", waited.p99_s / VISIBLE_S, 1.0)


def capture_once(settings: Settings) -> Run:
    """Capture what there is, publish it, and let the slot move; seconds of all of it."""
    lake = Lake.prepare(settings)
    lake.head()  # opens the connection
    started = time.perf_counter()
    draft = open_draft(lake, uuid.uuid4().hex, "bench")
    captured = capture(Desk(lake, settings, draft, SOURCE))
    commit_draft(lake, draft, "Capture", {}, Verdict(passed=True, suite_hash="0" * 64, checked=1))
    merge_draft(lake, draft)
    confirm(lake, settings, SOURCE)
    return Run(time.perf_counter() - started, captured.rows, _peak_bytes())


def _peak_bytes() -> int:
    """Of this process alone: what getrusage says is at least what the parent had when it forked."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@contextlib.contextmanager
def shop(work: Path) -> Iterator[Shop]:
    """Run PostgreSQL, an object store and the lake server, with the empty table in it."""
    access = postgres.PostgresAccess(
        free_ports(1)[0], {role: password() for role in (postgres.SUPERUSER, ROLE)}
    )
    with serving(work, "s3") as servers, running(postgres.server(work / "postgres", access)):
        settings = servers.settings(work / "home", "cdc").model_copy(
            update={"retail_dsn": SecretStr(access.dsn(ROLE))}
        )
        with psycopg.connect(access.dsn(ROLE), autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            connection.execute(_DDL)
            yield Shop(access, settings, connection)
