"""The lake server: cost of commit and merge against the size of the tree, SDK operations, publish cycles.

Floors, timed in the same run: a bare SQLite transaction as durable as the engine's, an HTTP request to the
same server that does nothing, a plain PUT to the same object store.
"""

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import lakefs

from bench.report import CONSOLE, Report, Samples, timed
from bench.servers import BUCKET, Servers, serving
from include.lake import Lake, publish, upload
from include.spec.refs import DraftRef
from include.spec.verdict import Verdict
from include.stack.lakefs.engine import Engine
from include.stack.lakefs.model import Entry

SDK: Any = lakefs
REPOSITORY = "bench"
COMMITTER = "bench"
BASE_OBJECTS = 10_000
LARGEST_RATIO = 3.0
SPREAD, TOGETHER = "spread evenly", "one new folder"
CASES = ((1, SPREAD, 30), (100, TOGETHER, 15), (100, SPREAD, 15), (10_000, TOGETHER, 3), (10_000, SPREAD, 3))
SMALL = b"x" * 4096


def run(report: Report, work: Path, *, quick: bool) -> None:
    """Measure all of it."""
    trees(report, work / "engine", (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000))
    for blockstore in ("local", "s3"):
        with serving(work, blockstore) as servers:
            operations(report, servers, blockstore, 30 if quick else 200)
            if blockstore == "s3":
                cycles(report, servers, work, 8 if quick else 40)


# --- the engine: commit and merge against tree size


def entry(path: str, version: int) -> Entry:
    """An object whose identity changes with the version."""
    return Entry(
        path=path, physical_address=f"data/{version}/{path}", checksum=f"{version:032x}", size_bytes=4096
    )


def path_of(number: int) -> str:
    """Paths as a lake has them: tables, partitions, parts."""
    return f"table{number % 7}/day={number // 7 % 365:03d}/part-{number:08d}.parquet"


def trees(report: Report, folder: Path, sizes: tuple[int, ...]) -> None:
    """Commit and merge of 1, 100 and 10,000 changes on trees of each size."""
    floors = {changes: sqlite_floor(folder / f"floor-{changes}", changes) for changes in (1, 100, 10_000)}
    rows: list[dict[str, Any]] = []
    medians: dict[tuple[str, int, int, str], float] = {}
    for objects in sizes:
        with engine_with(folder / str(objects), objects) as (engine, build_s):
            CONSOLE.print(f"a tree of {objects:,} objects was built in {build_s:.1f} s")
            for changes, where, times in CASES:
                commit, merge = commit_and_merge(engine, objects, changes, where, times)
                for what, samples in (("commit", commit), ("merge", merge)):
                    medians[what, objects, changes, where] = samples.p50_s
                    base = medians[what, BASE_OBJECTS, changes, where]
                    rows.append(
                        {
                            "operation": what,
                            "objects": objects,
                            "changes": changes,
                            "where": where,
                            "p50 ms": samples.p50_s * 1e3,
                            "p99 ms": samples.p99_s * 1e3,
                            "/ 10k objects": samples.p50_s / base,
                            "/ SQLite insert": samples.p50_s / floors[changes].p50_s,
                        }
                    )
    report.show("commit and merge: cost follows the changes, not the objects", rows)
    for what in ("commit", "merge"):
        ratio = medians[what, sizes[-1], 1, SPREAD] / medians[what, BASE_OBJECTS, 1, SPREAD]
        report.claim(
            f"{what} of 1 change on {sizes[-1]:,} objects / on {BASE_OBJECTS:,}", ratio, LARGEST_RATIO
        )


@contextlib.contextmanager
def engine_with(folder: Path, objects: int) -> Iterator[tuple[Engine, float]]:
    """An engine with one repository whose main holds that many objects, and the seconds that took."""
    engine = Engine(folder)
    try:
        engine.create_repository(REPOSITORY, "local://bench")
        start = perf_counter()
        entries = (entry(path_of(number), 0) for number in range(objects))
        engine.import_entries(REPOSITORY, "main", entries, [""], COMMITTER, "build")
        yield engine, perf_counter() - start
    finally:
        engine.close()


def commit_and_merge(
    engine: Engine, objects: int, changes: int, where: str, times: int
) -> tuple[Samples, Samples]:
    """Times of committing the changes on a branch, and of merging it into a main that moved meanwhile.

    New files come into one folder, as a publication brings them; or files all over the tree change, which
    is the worst case: each touches a range of its own where there are enough. Staging is not in the times.
    """
    commits, merges = [], []
    for turn in range(times + 1):
        branch = f"b{uuid.uuid4().hex}"
        engine.create_branch(REPOSITORY, branch, "main")
        engine.stage_many(REPOSITORY, branch, _changes(objects, changes, where, turn))
        start = perf_counter()
        engine.commit(REPOSITORY, branch, f"{changes} changes", COMMITTER)
        commits.append(perf_counter() - start)
        engine.stage(REPOSITORY, "main", entry("elsewhere/moved", uuid.uuid4().int >> 64))
        engine.commit(REPOSITORY, "main", "main moved", COMMITTER)
        start = perf_counter()
        engine.merge(REPOSITORY, branch, "main", COMMITTER)
        merges.append(perf_counter() - start)
        engine.delete_branch(REPOSITORY, branch)
    return Samples(tuple(commits[1:])), Samples(tuple(merges[1:]))


def _changes(objects: int, changes: int, where: str, turn: int) -> Iterator[Entry]:
    version = uuid.uuid4().int >> 64
    if where == TOGETHER:
        folder = f"table3/day=1{version % 1000:03d}-{version}"
        return (entry(f"{folder}/part-{number:08d}.parquet", version) for number in range(changes))
    step = max(1, objects // changes)
    return (entry(path_of((turn + number * step) % objects), version) for number in range(changes))


def sqlite_floor(folder: Path, rows: int) -> Samples:
    """A durable transaction that inserts that many rows and does nothing else."""
    folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        body = b"x" * 100

        def insert() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO t (body) VALUES (?)", ((body,) for _ in range(rows)))
            connection.execute("COMMIT")

        return timed(insert, 30)


# --- operations through the SDK


def operations(report: Report, servers: Servers, blockstore: str, times: int) -> None:
    """Times of single operations of the official SDK, against a request that does nothing."""
    client = SDK.Client(
        host=servers.lake.endpoint,
        username=servers.lake.access_key_id,
        password=servers.lake.secret_access_key,
    )
    namespace = f"s3://{BUCKET}/operations" if servers.s3 else "local://operations"
    repository = SDK.Repository("operations", client=client).create(namespace)
    with httpx.Client(base_url=servers.lake.endpoint) as plain:
        floor = timed(lambda: plain.get("/_health"), times, warm=10)
    rows = [_operation("HTTP request that does nothing (floor)", floor, floor)]
    if servers.s3:
        store, number = servers.s3_client(), iter(range(10**9))
        put = timed(lambda: store.put_object(Bucket=BUCKET, Key=f"floor/{next(number)}", Body=SMALL), times)
        rows.append(_operation("boto3 PUT 4 KiB (floor)", put, floor))
    for name, act in _acts(client, repository, pre_sign=servers.s3 is not None):
        rows.append(_operation(name, timed(act, times, warm=3), floor))
    report.show(f"SDK operations, {blockstore} blockstore, one client", rows)


def _operation(name: str, samples: Samples, floor: Samples) -> dict[str, Any]:
    return {
        "operation": name,
        "p50 ms": samples.p50_s * 1e3,
        "p99 ms": samples.p99_s * 1e3,
        "/ HTTP request": samples.p50_s / floor.p50_s,
    }


def _acts(client: Any, repository: Any, *, pre_sign: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    main, api = repository.branch("main"), client.sdk_client
    main.object("stays").upload(SMALL, pre_sign=False)
    main.commit("base")
    number = iter(range(10**9))

    def put(*, signed: bool) -> None:
        main.object(f"dir{next(number) % 50}/{next(number)}").upload(SMALL, pre_sign=signed)

    def commit() -> None:
        put(signed=False)
        main.commit("one change")

    def transaction() -> None:
        with main.transact(commit_message="one change") as tx:
            tx.object(f"tx/{next(number)}").upload(SMALL, pre_sign=False)

    yield "get repository", lambda: api.repositories_api.get_repository(repository.id)
    yield "stat", lambda: api.objects_api.stat_object(repository.id, "main", "stays")
    yield "get 4 KiB", lambda: api.objects_api.get_object(repository.id, "main", "stays")
    yield "put 4 KiB through the server", lambda: put(signed=False)
    if pre_sign:
        yield "put 4 KiB pre-signed (address, PUT, link)", lambda: put(signed=True)
    yield "list 100 objects", lambda: api.objects_api.list_objects(repository.id, "main", amount=100)
    yield "create branch", lambda: repository.branch(f"b{next(number)}").create("main")
    yield "put and commit", commit
    yield "log of 20", lambda: api.refs_api.log_commits(repository.id, "main", amount=20)
    yield "transaction (branch, put, commit, merge, delete)", transaction


# --- write-audit-publish through our client


def cycles(report: Report, servers: Servers, work: Path, each: int) -> None:
    """Whole publications of one 4 KiB file a second, by 1 and by 8 clients at once."""
    lake = Lake.prepare(servers.settings(work / "home", "cycles"))
    files = work / "files"
    files.mkdir()
    (files / "part.bin").write_bytes(SMALL)
    store = servers.s3_client()
    rows: list[dict[str, Any]] = []
    for clients in (1, 8):
        plain = _per_second(
            clients,
            each,
            lambda: store.put_object(Bucket=BUCKET, Key=f"plain/{uuid.uuid4().hex}", Body=SMALL),
        )
        ours = _per_second(clients, each, lambda: _cycle(lake, files))
        rows.append(
            {
                "clients": clients,
                "publications / s": ours,
                "boto3 PUT / s (floor)": plain,
                "floor / ours": plain / ours,
            }
        )
    report.show("write-audit-publish cycles, S3 blockstore", rows)


def _cycle(lake: Lake, files: Path) -> None:
    run_id = uuid.uuid4().hex

    def write(draft: DraftRef) -> None:
        upload(lake, draft, files, f"raw/bench/{run_id}")

    verdict = Verdict(passed=True, suite_hash="0" * 64, checked=1)
    publish(lake, run_id, "bench", write, lambda _: verdict, "bench")


def _per_second(clients: int, each: int, act: Callable[[], Any]) -> float:
    act()
    start = perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(lambda: [act() for _ in range(each)]) for _ in range(clients)]:
            done.result()
    return clients * each / (perf_counter() - start)
