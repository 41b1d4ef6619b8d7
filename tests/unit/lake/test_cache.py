"""The cache of contents: bounded, shared by processes, and never wrong."""

import hashlib
import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.lake.cache import OLDEST_PART_S, Cache, Trimmed
from include.lake.checkout import _make_folders
from include.lake.errors import BadPath, CacheFull
from include.lake.integrity import SHA256_KEY
from include.lake.objects import ObjectStat

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["hypothesis", "pytest", "include.lake"])


def content_of(name: str, size_bytes: int) -> bytes:
    return (name.encode() * size_bytes)[:size_bytes]


def stat_of(name: str, size_bytes: int = 100, *, known: bool = True) -> ObjectStat:
    content = content_of(name, size_bytes)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    metadata = {SHA256_KEY: hashlib.sha256(content).hexdigest()} if known else {}
    return ObjectStat(f"raw/{name}", size_bytes, digest, metadata)


class Reader:
    """Checks out one object at a time, and counts what it had to fetch."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.fetched = cache, 0

    def read(self, stat: ObjectStat, *, deep: bool = False) -> bytes:
        key = self.cache.key(stat, "lake")
        lease = self.cache.lease({key: stat.size_bytes})
        target = lease.files / "file"
        self.fetched += self.cache.place(stat, key, target, lambda part: fetch(stat, part), deep=deep)
        content = target.read_bytes()
        lease.release()
        return content


def fetch(stat: ObjectStat, part: Path) -> str:
    content = content_of(stat.path.removeprefix("raw/"), stat.size_bytes)
    part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def used_bytes(cache: Cache) -> int:
    return sum(content.size_bytes for content in cache.contents())


@settings(max_examples=60, deadline=None)
@given(reads=st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=25))
def test_whatever_is_read_the_bound_holds_and_the_bytes_are_right(tmp_path_factory, reads):
    cache = Cache(tmp_path_factory.mktemp("cache") / uuid4().hex, 250)
    reader = Reader(cache)
    for name, known in reads:
        assert reader.read(stat_of(name, known=known)) == content_of(name, 100)
        assert used_bytes(cache) <= 250
    assert list((cache.folder / "leases").iterdir()) == []
    assert list((cache.folder / "parts").iterdir()) == []


def test_one_content_is_kept_once_however_it_is_named(tmp_path):
    cache = Cache(tmp_path, 1000)
    reader = Reader(cache)
    for known in (False, True, False):
        reader.read(stat_of("a", known=known))
    assert reader.fetched == 1
    assert len(list(cache.contents())) == 1


def test_two_contents_of_one_size_are_not_taken_for_each_other(tmp_path):
    reader = Reader(Cache(tmp_path, 1000))
    for name in "abab":
        assert reader.read(stat_of(name, known=False)) == content_of(name, 100)
    assert reader.fetched == 2


def test_what_a_live_lease_counts_on_is_room_that_is_taken(tmp_path):
    cache = Cache(tmp_path, 250)
    held = cache.lease({"a" * 64: 200})
    with pytest.raises(CacheFull, match="needs 100 bytes"):
        cache.lease({"b" * 64: 100})
    same = cache.lease({"a" * 64: 200, "c" * 64: 50})  # what both count on is counted once
    same.release()
    held.release()
    held.release()
    cache.lease({"b" * 64: 100}).release()


def test_what_a_lease_counts_on_is_not_evicted_before_it_is_linked(tmp_path):
    cache = Cache(tmp_path, 250)
    reader = Reader(cache)
    reader.read(stat_of("a"))
    lease = cache.lease({cache.key(stat_of("a"), "lake"): 100})
    reader.read(stat_of("b"))
    with pytest.raises(CacheFull):
        cache.lease({"c" * 64: 160})
    assert reader.read(stat_of("a")) == content_of("a", 100)
    assert reader.fetched == 2
    lease.release()


def test_a_fetch_that_fails_leaves_nothing_and_can_be_tried_again(tmp_path):
    cache = Cache(tmp_path, 1000)
    stat = stat_of("a")
    key = cache.key(stat, "lake")

    def fails(part: Path) -> str:
        part.write_bytes(b"half")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        cache.place(stat, key, tmp_path / "target", fails, deep=False)
    assert not (tmp_path / "target").exists()
    assert list((tmp_path / "parts").iterdir()) == []
    assert Reader(cache).read(stat) == content_of("a", 100)


def test_downloads_of_dead_processes_are_cleared_and_those_of_live_ones_are_not(tmp_path, monkeypatch):
    cache = Cache(tmp_path, 1000)
    part = tmp_path / "parts" / "of-somebody"
    part.write_bytes(b"half")
    os.utime(part, (0, 0))
    cache.lease({}).release()
    assert part.exists(), "a download on its way was deleted"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + OLDEST_PART_S + 60)
    cache.lease({}).release()
    assert not part.exists()


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "gone"])
def test_a_damaged_content_is_fetched_again(tmp_path, damage):
    cache = Cache(tmp_path, 1000)
    reader = Reader(cache)
    reader.read(stat_of("a"))
    (content,) = cache.contents()
    if damage == "gone":
        content.path.unlink()
    else:
        content.path.chmod(0o644)
        content.path.write_bytes(b"x" * (99 if damage == "shorter" else 100))
    assert reader.read(stat_of("a")) == content_of("a", 100)
    assert reader.fetched == 2
    assert reader.read(stat_of("a")) == content_of("a", 100)
    assert reader.fetched == 2


def test_a_content_that_was_only_touched_is_kept(tmp_path):
    cache = Cache(tmp_path, 1000)
    reader = Reader(cache)
    reader.read(stat_of("a"))
    (content,) = cache.contents()
    os.utime(content.path)
    reader.read(stat_of("a"))
    assert reader.fetched == 1


def test_decay_that_hides_is_found_by_hashing(tmp_path):
    cache = Cache(tmp_path, 1000)
    reader = Reader(cache)
    reader.read(stat_of("a"))
    (content,) = cache.contents()
    before = content.path.stat()
    content.path.chmod(0o644)
    content.path.write_bytes(b"x" * 100)
    os.utime(content.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reader.read(stat_of("a")) == b"x" * 100
    assert reader.read(stat_of("a"), deep=True) == content_of("a", 100)


def test_threads_that_want_one_content_fetch_it_once(tmp_path):
    cache = Cache(tmp_path, 10_000)
    readers = [Reader(cache) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda reader: [reader.read(stat_of(name)) for name in "abcd"], readers))
    assert sum(reader.fetched for reader in readers) == 4


def test_trimming_takes_the_least_recently_used_beyond_the_bound(tmp_path):
    cache = Cache(tmp_path, 1000)
    reader = Reader(cache)
    for name in "abcda":
        reader.read(stat_of(name))
    assert cache.trim() == Trimmed(0, 0, 400)
    assert cache.trim(250, dry_run=True) == Trimmed(2, 200, 200)
    assert used_bytes(cache) == 400
    assert cache.trim(250) == Trimmed(2, 200, 200)
    for name in "da":
        reader.read(stat_of(name))
    assert reader.fetched == 4, "one that was read lately was evicted"
    with pytest.raises(ValueError, match="-1 bytes"):
        cache.trim(-1)


def test_trimming_leaves_what_live_checkouts_count_on_and_reading_goes_on(tmp_path):
    cache = Cache(tmp_path, 1000)
    reader = Reader(cache)
    for name, known in (("a", True), ("b", False), ("c", True)):
        reader.read(stat_of(name, known=known))
    lease = cache.lease({cache.key(stat_of(name, known=name == "a"), "lake"): 100 for name in "ab"})
    assert cache.trim(0) == Trimmed(1, 100, 200)
    for name in "ab":
        reader.read(stat_of(name))
    assert reader.fetched == 3
    lease.release()
    assert cache.trim(0) == Trimmed(2, 200, 0)


def test_trimming_clears_what_dead_processes_left_and_names_of_nothing(tmp_path):
    cache = Cache(tmp_path, 1000)
    Reader(cache).read(stat_of("a", known=False))
    dead = tmp_path / "leases" / "dead"
    (dead / "files").mkdir(parents=True)
    links = list((tmp_path / "index").glob("??/*"))
    assert len(links) == 1
    cache.trim(0, dry_run=True)
    assert dead.exists()
    cache.trim()
    assert links[0].is_symlink()
    assert not dead.exists()
    cache.trim(0)
    assert not links[0].is_symlink()


def _trim_until(folder: Path, stop: Path) -> int:
    trimmed = 0
    while not stop.exists():
        trimmed += Cache(folder, 450).trim(0).contents
    return trimmed


def test_processes_read_nothing_wrong_while_another_trims_all_away(tmp_path):
    with ProcessPoolExecutor(3, mp_context=FORKSERVER) as processes:
        stop = tmp_path / "stop"
        trimmed = processes.submit(_trim_until, tmp_path, stop)
        try:
            wrong = list(processes.map(_read_around, [tmp_path] * 2, ["abcdefgh", "hgfedcba"], [80] * 2))
        finally:
            stop.touch()
        assert wrong == [0, 0]
        assert trimmed.result() > 0
    assert Cache(tmp_path, 450).trim(0).kept_bytes == 0


def test_trimming_that_is_killed_leaves_a_cache_that_works(tmp_path):
    reader = Reader(Cache(tmp_path, 1000))
    process = FORKSERVER.Process(target=_trim_until, args=(tmp_path, tmp_path / "never"))
    process.start()
    while process.is_alive():
        for name in "abcdefgh":
            assert reader.read(stat_of(name)) == content_of(name, 100)
        if reader.fetched > 8:  # it evicts by now
            process.kill()
            process.join()
    assert process.exitcode == -signal.SIGKILL
    for name in "abcdefgh":
        reader.read(stat_of(name))
    assert Cache(tmp_path, 1000).trim(0) == Trimmed(8, 800, 0)


def _read_around(folder: Path, order: str, rounds: int) -> int:
    reader = Reader(Cache(folder, 450))
    return sum(
        reader.read(stat_of(order[n % len(order)])) != content_of(order[n % len(order)], 100)
        for n in range(rounds)
    )


def test_processes_evict_under_each_other_and_read_nothing_wrong(tmp_path):
    with ProcessPoolExecutor(4, mp_context=FORKSERVER) as processes:
        orders = ["abcdefgh", "hgfedcba", "acegbdfh", "fhbdaceg"]
        wrong = list(processes.map(_read_around, [tmp_path] * 4, orders, [40] * 4))
    assert wrong == [0, 0, 0, 0]
    cache = Cache(tmp_path, 450)
    assert used_bytes(cache) <= 450
    assert list((tmp_path / "leases").iterdir()) == []


def _stats(*paths: str) -> tuple[ObjectStat, ...]:
    return tuple(ObjectStat(path, 0, "") for path in paths)


def test_paths_of_the_lake_that_cannot_be_files_make_no_checkout(tmp_path):
    _make_folders(tmp_path, _stats("raw/a", "raw/b/c", "top"))
    for paths in (("raw/../../x",), ("/etc/x",), ("raw/a", "raw/a/b"), ("raw/a", "raw/a/b/c/d")):
        with pytest.raises(BadPath):
            _make_folders(tmp_path, _stats(*paths))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "raw"]
