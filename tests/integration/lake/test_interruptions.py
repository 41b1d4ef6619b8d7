"""A publisher that dies before any of its requests, or races another: nothing twice, nothing in part."""

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3

from include.lake import Lake, collect_drafts, find_published, publish, refused, upload
from include.lake.errors import LakeError
from include.lake.history import log
from include.lake.objects import list_objects
from include.lake.patience import Patience
from include.spec.refs import Published
from tests.integration.lake.samples import ORDERS, PASSED, STATION, paths, write_orders
from tests.integration.lake.workers import FORKSERVER, publish_folder, refuse_folder

pytestmark = [pytest.mark.integration, pytest.mark.faults]

MOST_REQUESTS = 60
MERGE_AFTER = 12  # requests that every publication sends before its merge, at the least


def died(target, *arguments) -> bool:
    """Whether a process of its own was killed before it was done."""
    process = FORKSERVER.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
    return process.exitcode == -signal.SIGKILL


def test_a_run_that_dies_before_any_request_is_published_once_by_the_next_attempt(lake, settings, tmp_path):
    base = lake.head()
    for requests in range(MOST_REQUESTS):
        run, table = f"run-{requests}", f"raw/retail/table_{requests}"
        # The second attempt writes fewer and other files: nothing of the first may be left among them.
        first = write_orders(tmp_path / f"first-{requests}", files=2, rows=10)
        second = write_orders(tmp_path / f"second-{requests}", files=1, rows=15, first=1)
        killed = died(publish_folder, settings, run, {table: first}, requests)
        partial = paths(lake, lake.head(), table)
        assert partial in ([], [f"{table}/{name}" for name in names(first)]), "main shows a part of a run"
        again = publish_folder(settings, run, {table: second})
        assert isinstance(again, Published)
        assert paths(lake, again.commit, table) in (
            [f"{table}/{name}" for name in names(first)],
            [f"{table}/{name}" for name in names(second)],
        )
        assert again == find_published(lake, run, STATION)
        if not killed:
            break
    else:
        pytest.fail("the publisher never came to its end")
    assert requests > 12, "fewer requests than a publication has"
    entries = list(log(lake))
    assert entries[-1].commit == base
    runs = [entry.record.run_id for entry in entries[:-1] if entry.record]
    assert runs == [f"run-{number}" for number in range(requests, -1, -1)]
    branches = lake.api.branches_api.list_branches(lake.repository).results
    assert [branch.id for branch in branches] == ["main"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Losing:
    """Lets requests through, and loses the answer of one of them: the server did what it was asked."""

    def __init__(self, send: Callable[..., Any], losing: Iterator[int]) -> None:
        self._send, self._losing = send, losing

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        answer = self._send(*arguments, **options)
        if next(self._losing) == 0:
            raise urllib3.exceptions.ProtocolError("Connection aborted.")
        return answer


def publish_losing(settings, number: int, run: str, table: str, folder: Path) -> tuple[Any, bool]:
    """Publish a folder while one answer is lost; also whether there were fewer requests than that."""
    lake = Lake.connect(settings, patience=Patience(deadline_s=20, first_wait_s=0.01))
    left = itertools.count(number, -1)
    rest = lake.api.config_api.api_client.rest_client
    rest.request = Losing(rest.request, left)
    lake.wire._request = Losing(lake.wire._request, left)  # type: ignore[method-assign]
    result = publish(
        lake,
        run,
        STATION,
        lambda draft: upload(lake, draft, folder, table),
        lambda _: PASSED,
        f"Ingest {run}",
    )
    return result, next(left) > 0


def test_an_answer_that_is_lost_makes_nothing_happen_twice(lake, settings, tmp_path):
    for number in range(MOST_REQUESTS):
        run, table = f"run-{number}", f"raw/retail/table_{number}"
        folder = write_orders(tmp_path / f"orders-{number}", files=1, rows=1 + number)
        result, was_last = publish_losing(settings, number, run, table, folder)
        assert isinstance(result, Published)
        assert (result.changed, result.rows) == (True, ((table, 1 + number),))
        if was_last:
            break
    else:
        pytest.fail("the publisher never came to its end")
    assert number > 12
    runs = [entry.record.run_id for entry in log(lake) if entry.record]
    assert runs == [f"run-{done}" for done in range(number, -1, -1)]


def test_a_run_that_dies_while_it_is_refused_leaves_main_alone_and_can_try_again(lake, settings, tmp_path):
    base = lake.head()
    folder = write_orders(tmp_path / "orders", files=1)
    for requests in range(MOST_REQUESTS):
        if not died(refuse_folder, settings, "run-1", folder, requests):
            break
        assert lake.head() == base
    else:
        pytest.fail("the publisher never came to its end")
    assert requests > 8
    kept = refused(lake)
    assert kept
    assert all(paths(lake, item.commit) == [f"{ORDERS}/{name}" for name in names(folder)] for item in kept)
    assert isinstance(publish_folder(settings, "run-1", {ORDERS: folder}), Published)


def test_an_orphan_that_was_merged_is_settled_when_it_is_collected(lake, settings, tmp_path):
    folder = write_orders(tmp_path / "orders", files=1)
    run = ""
    for requests in range(MERGE_AFTER, MOST_REQUESTS):
        run, head = f"run-{requests}", lake.head()
        assert died(publish_folder, settings, run, {f"raw/retail/{run}": folder}, requests)
        if lake.head() != head:
            break
    collected = collect_drafts(lake, timedelta(0), now=datetime.now(UTC) + timedelta(minutes=5))
    assert {(item.run_id, item.reason) for item in collected if item.run_id == run} == {(run, "published")}
    published = find_published(lake, run, STATION)
    assert published is not None
    assert published.commit == lake.head()
    branches = lake.api.branches_api.list_branches(lake.repository).results
    assert [branch.id for branch in branches] == ["main"]


def test_two_publishers_at_once_lose_nothing(lake, settings, tmp_path):
    jobs = [
        (f"run-{number}", {f"raw/retail/table_{number}": write_orders(tmp_path / f"orders-{number}")})
        for number in range(8)
    ]
    with ProcessPoolExecutor(2, mp_context=FORKSERVER) as processes:
        results = list(processes.map(publish_folder, [settings] * 8, *zip(*jobs, strict=True)))
    assert all(isinstance(result, Published) and result.changed for result in results)
    assert len({result.commit for result in results}) == 8
    assert len(paths(lake, lake.head())) == 16
    runs = {entry.record.run_id for entry in log(lake) if entry.record}
    assert runs == {run for run, _ in jobs}


def test_one_run_by_two_processes_at_once_is_published_once(lake, settings, tmp_path):
    folder = write_orders(tmp_path / "orders")
    first = publish_folder(settings, "run-0", {"raw/retail/warm": folder})
    with ProcessPoolExecutor(2, mp_context=FORKSERVER) as processes:
        futures = [processes.submit(publish_folder, settings, "run-1", {ORDERS: folder}) for _ in range(2)]
        errors = [future.exception() for future in futures]
        results = [future.result() for future in futures if future.exception() is None]
    assert all(isinstance(error, LakeError) for error in errors if error is not None)
    assert results, errors
    assert len(set(results)) == 1
    assert results[0] == find_published(lake, "run-1", STATION)
    assert paths(lake, lake.head(), ORDERS) == [f"{ORDERS}/{name}" for name in names(folder)]
    assert first == find_published(lake, "run-0", STATION)


def test_readers_never_see_a_part_of_a_publication(lake, settings, tmp_path):
    """Each run rewrites the files of two tables; a reader that sees two runs mixed sees a part of one."""
    tables = ("raw/retail/orders", "raw/retail/baskets")
    stop, seen, mixed = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            found = {(stat.path.rpartition("/")[0], stat.rows) for stat in list_objects(lake, lake.head())}
            versions = {rows for _, rows in found}
            seen.update(versions)
            if len(versions) > 1 or (found and len(found) != len(tables)):
                mixed.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 9):
            folder = tmp_path / f"version-{number}"
            for index in range(4):
                (file,) = write_orders(folder / str(index), files=1, rows=number).iterdir()
                file.rename(folder / f"part-{index}.parquet")
                (folder / str(index)).rmdir()
            publish_folder(settings, f"run-{number}", dict.fromkeys(tables, folder))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert mixed == []
    assert len(seen) > 2, "the readers were too slow to see anything"
