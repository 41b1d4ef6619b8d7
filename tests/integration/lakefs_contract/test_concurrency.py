"""Many clients at once: nothing acknowledged is lost, nothing is half there."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lakefs.exceptions import ConflictException, ObjectExistsException, ServerException

pytestmark = pytest.mark.integration

THREADS = 16


def in_threads(act, count=THREADS):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))


def retrying(act, deadline_s=30.0):
    """Repeats what lakeFS asks to repeat: 423 and 429 (too many attempts), 500 "locked"."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            return act()
        except ServerException as error:
            transient = error.status_code in {423, 429} or "try again" in str(error)
            if not transient or time.monotonic() > deadline:
                raise


def test_commits_on_different_branches(repo, main, put, paths_at):
    def work(number: int) -> str:
        branch = repo.branch(f"b{number}").create("main")
        for step in range(3):
            put(branch, f"{number}/{step}")
            retrying(lambda step=step: branch.commit(f"{number} {step}"))
        return str(branch.head.id)

    heads = in_threads(work)
    assert len(set(heads)) == THREADS
    for number, head in enumerate(heads):
        assert [commit.message for commit in repo.ref(head).log(max_amount=3)] == [
            f"{number} {step}" for step in (2, 1, 0)
        ]
        assert paths_at(repo.ref(head)) == [f"{number}/{step}" for step in range(3)]


def test_writes_and_commits_on_one_branch(main, put, paths_at):
    """A commit may take another thread's staged writes with it; then that thread has nothing to commit."""

    def work(number: int) -> int:
        made = 0
        for step in range(3):
            put(main, f"{number:02d}/{step}")
            try:
                retrying(lambda step=step: main.commit(f"{number} {step}"))
                made += 1
            except ServerException as error:
                if "no changes" not in str(error).lower():
                    raise
        return made

    made = sum(in_threads(work))
    retrying(lambda: main.commit("rest", allow_empty=True))
    expected = [f"{number:02d}/{step}" for number in range(THREADS) for step in range(3)]
    assert paths_at(main) == expected
    assert list(main.uncommitted()) == []
    log = list(main.log())
    assert len(log) == made + 2
    for child, parent in itertools.pairwise(log):
        assert child.parents == [parent.id]


def test_merges_into_one_branch(repo, main, put, paths_at):
    def work(number: int) -> str:
        branch = repo.branch(f"b{number:02d}").create("main")
        put(branch, f"path-{number:02d}")
        branch.commit(f"work {number}")
        return str(retrying(lambda: branch.merge_into(main)))

    merges = in_threads(work)
    assert len(set(merges)) == THREADS
    assert paths_at(main) == [f"path-{number:02d}" for number in range(THREADS)]
    first_parents = [commit.id for commit in main.log(first_parent=True)]
    assert set(merges) == set(first_parents[:-1])


def test_one_of_many_creates_wins(repo, main, put):
    def upload(number: int) -> bool:
        try:
            put(main, "only-once", content=f"{number}", mode="x")
        except ObjectExistsException:
            return False
        return True

    assert sum(in_threads(upload)) == 1

    def create(number: int) -> bool:
        try:
            repo.branch("only-once").create("main")
        except ConflictException:
            return False
        return True

    assert sum(in_threads(create)) == 1


def test_readers_see_whole_commits_only(repo, main, put):
    """Each commit writes all ten paths with one number: a reader of a commit never sees two numbers."""
    paths = [f"p{n}" for n in range(10)]
    put(main, *paths, content="0")
    main.commit("0")
    done: list[Any] = []

    def read(_: int) -> int:
        seen = 0
        while not done:
            head = repo.ref(main.head.id)
            checksums = {entry.checksum for entry in head.objects()}
            assert len(checksums) == 1
            seen += 1
        return seen

    def write() -> None:
        try:
            for number in range(1, 8):
                put(main, *paths, content=str(number))
                main.commit(str(number))
        finally:
            done.append(True)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, number) for number in range(3)]
        write()
        assert all(reader.result() > 0 for reader in readers)
