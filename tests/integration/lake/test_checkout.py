"""Checkouts of a real lake: the right bytes, verified, once, within bounds, and nothing half-written."""

import hashlib
import os
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from include.lake import Lake, Parting, checkout, commit_draft, merge_draft, open_draft, publish, upload
from include.lake.connection import MODELS
from include.lake.errors import BadPath, CacheFull, CorruptObject, DiskFull, UnknownPath, UnknownRef
from include.lake.integrity import SHA256_KEY, combined_etag
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.refs import CommitRef
from tests.integration.lake.samples import ORDERS, PASSED, STATION
from tests.integration.lake.workers import (
    FORKSERVER,
    checkout_with_small_files,
    evict_around,
    fetch_all,
    hold_and_die,
    with_cache,
)

pytestmark = pytest.mark.integration


def put(lake: Lake, files: dict[str, bytes], scratch: Path, run="run-1") -> CommitRef:
    """Publish files with these contents."""
    folder = scratch / f"put-{run}"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    result = publish(
        lake, run, STATION, lambda draft: upload(lake, draft, folder, ""), lambda _: PASSED, "Put files"
    )
    return result.commit


def stored(place: Settings | Lake) -> list[Path]:
    return [path for path in (place.cache_folder / "objects").rglob("*") if path.is_file()]


def left_over(place: Settings | Lake) -> list[Path]:
    """What a checkout leaves but cached contents."""
    return [path for name in ("leases", "parts") for path in (place.cache_folder / name).iterdir()]


def test_a_checkout_mirrors_the_lake_and_is_read_only(any_lake, tmp_path):
    lake = any_lake
    files = {
        "raw/retail/orders/a.bin": b"a" * 100,
        "raw/retail/orders/day=1/b.bin": b"",
        "raw/retail/orders_old/c.bin": b"c",
        "raw/retail/grün und blau/d.bin": b"d",
    }
    commit = put(lake, files, tmp_path)
    with checkout(lake, commit, "raw/retail/orders") as found:
        assert sorted(path.name for path in found.folder.rglob("*.bin")) == ["a.bin", "b.bin"]
        assert found.path("raw/retail/orders/a.bin").read_bytes() == b"a" * 100
        assert found.path("raw/retail/orders/day=1/b.bin").read_bytes() == b""
        assert not found.path("raw/retail/orders/a.bin").stat().st_mode & 0o222
        assert (found.size_bytes, found.fetched_bytes) == (100, 100)
        with pytest.raises(UnknownPath):
            found.path("raw/retail/orders_old")
    assert not found.folder.exists()
    with checkout(lake, commit) as found:
        contents = {stat.path: found.path(stat.path).read_bytes() for stat in found.objects}
        assert contents == files
        assert found.fetched_bytes == 2
    with checkout(lake, commit, "raw/retail/orders/a.bin") as found:
        assert [stat.path for stat in found.objects] == ["raw/retail/orders/a.bin"]


def test_a_draft_is_checked_out_with_what_is_staged(any_lake, orders):
    lake = any_lake
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(2, 10), ORDERS)
    with checkout(lake, draft, ORDERS) as files:
        assert len(list(files.path(ORDERS).iterdir())) == 2
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    commit = merge_draft(lake, draft).commit
    with checkout(lake, commit, ORDERS) as files:
        assert files.fetched_bytes == 0


def test_what_is_not_there_is_one_clear_error(lake, tmp_path):
    commit = put(lake, {"raw/a.bin": b"a"}, tmp_path)
    with pytest.raises(UnknownPath, match=r"path=raw/retail/nothing"):
        checkout(lake, commit, "raw/retail/nothing")
    with pytest.raises(UnknownRef, match=r"ref=0123456789abcdef"):
        checkout(lake, CommitRef(lake.repository, "0123456789abcdef"), "raw")
    with pytest.raises(BadPath):
        checkout(lake, commit, "raw/../../etc")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    with pytest.raises(BadPath, match="is not empty"):
        checkout(lake, commit, "raw", to=full)


def test_a_checkout_can_be_kept_in_a_folder(lake, settings, tmp_path):
    commit = put(lake, {"raw/a.bin": b"a" * 10, "raw/b/c.bin": b"c" * 10}, tmp_path)
    kept = checkout(lake, commit, "raw", to=tmp_path / "kept" / "files")
    assert (tmp_path / "kept" / "files" / "raw" / "b" / "c.bin").read_bytes() == b"c" * 10
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["files"]
    assert kept.path("raw/a.bin").stat().st_nlink == 2
    assert left_over(settings) == []


def test_a_kept_folder_stays_whatever_is_evicted_and_takes_no_room_of_the_cache(lake, settings, tmp_path):
    commit = put(lake, {f"raw/{name}/x.bin": name.encode() * 1000 for name in "ab"}, tmp_path)
    small = with_cache(settings, 1500)
    kept = checkout(small, commit, "raw/a", to=tmp_path / "kept")
    with checkout(small, commit, "raw/b") as files:
        assert files.fetched_bytes == 1000
    assert kept.path("raw/a/x.bin").read_bytes() == b"a" * 1000


def test_four_processes_at_once_fetch_each_object_once(lake, settings, tmp_path):
    contents = {f"raw/{number:03}.bin": os.urandom(50_000 + number) for number in range(60)}
    commit = put(lake, contents, tmp_path)
    with ProcessPoolExecutor(4, mp_context=FORKSERVER) as processes:
        results = list(processes.map(fetch_all, [settings] * 4, [commit] * 4))
    expected = hashlib.sha256(b"".join(contents[name] for name in sorted(contents))).hexdigest()
    assert {digest for _, digest in results} == {expected}
    assert sum(fetched for fetched, _ in results) == sum(map(len, contents.values()))
    assert len(stored(settings)) == 60
    assert left_over(settings) == []


def test_the_cache_keeps_its_bound_and_evicts_what_was_used_least_recently(lake, settings, tmp_path):
    contents = {f"raw/{name}/x.bin": os.urandom(1000) for name in "abcd"}
    commit = put(lake, contents, tmp_path)
    small = with_cache(settings, 3000)
    for name in "abc":
        checkout(small, commit, f"raw/{name}").close()
    checkout(small, commit, "raw/a").close()
    checkout(small, commit, "raw/d").close()
    assert sum(path.stat().st_size for path in stored(settings)) <= 3000
    fetched = {}
    for name in "acdb":
        with checkout(small, commit, f"raw/{name}") as files:
            fetched[name] = files.fetched_bytes > 0
    assert fetched == {"a": False, "c": False, "d": False, "b": True}


def test_eviction_never_takes_what_a_live_checkout_uses(lake, settings, tmp_path):
    contents = {f"raw/{name}/x.bin": os.urandom(1000) for name in "abcd"}
    commit = put(lake, contents, tmp_path)
    small = with_cache(settings, 2500)
    with checkout(small, commit, "raw/a") as first, checkout(small, commit, "raw/b"):
        with pytest.raises(CacheFull, match="HEADRACE_CACHE_SIZE_BYTES"):
            checkout(small, commit, "raw/c")
        assert first.path("raw/a/x.bin").read_bytes() == contents["raw/a/x.bin"]
    with checkout(small, commit, "raw/c"), checkout(small, commit, "raw/d") as last:
        assert last.path("raw/d/x.bin").read_bytes() == contents["raw/d/x.bin"]
    with pytest.raises(CacheFull):
        checkout(small, commit, "raw")
    assert left_over(settings) == []


def test_the_checkout_of_a_process_that_died_is_cleared_away(lake, settings, tmp_path):
    commit = put(lake, {f"raw/{name}/x.bin": os.urandom(1000) for name in "ab"}, tmp_path)
    process = FORKSERVER.Process(target=hold_and_die, args=(settings, commit))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(left_over(settings)) == 1
    small = with_cache(settings, 1500)
    with checkout(small, commit, "raw/b"):
        assert len(left_over(settings)) == 1
    assert left_over(settings) == []


def test_processes_that_evict_each_others_contents_never_read_anything_wrong(lake, settings, tmp_path):
    commit = put(lake, {f"raw/{name}/x.bin": name.encode() * 1000 for name in "abcdefgh"}, tmp_path)
    orders = ["abcdefgh", "hgfedcba", "acegbdfh", "bdfhaceg"]
    with ProcessPoolExecutor(4, mp_context=FORKSERVER) as processes:
        wrong = list(processes.map(evict_around, [settings] * 4, [commit] * 4, orders, [24] * 4))
    assert wrong == [0, 0, 0, 0]
    assert sum(path.stat().st_size for path in stored(settings)) <= 5000
    assert left_over(settings) == []


def test_a_cached_file_that_was_changed_is_fetched_again(lake, settings, tmp_path):
    commit = put(lake, {"raw/a.bin": b"a" * 1000}, tmp_path)
    checkout(lake, commit, "raw").close()
    (cached,) = stored(settings)
    cached.chmod(0o644)
    cached.write_bytes(b"b" * 1000)
    with checkout(lake, commit, "raw") as files:
        assert files.path("raw/a.bin").read_bytes() == b"a" * 1000
        assert files.fetched_bytes == 1000


def test_decay_that_left_size_and_time_alone_is_found_by_a_deep_checkout(lake, settings, tmp_path):
    commit = put(lake, {"raw/a.bin": b"a" * 1000}, tmp_path)
    checkout(lake, commit, "raw").close()
    (cached,) = stored(settings)
    before = cached.stat()
    cached.chmod(0o644)
    cached.write_bytes(b"b" * 1000)
    os.utime(cached, ns=(before.st_atime_ns, before.st_mtime_ns))
    with checkout(lake, commit, "raw", deep=True) as files:
        assert files.path("raw/a.bin").read_bytes() == b"a" * 1000
    with checkout(lake, commit, "raw", deep=True) as files:
        assert files.fetched_bytes == 0


def address(lake: Lake, commit: CommitRef, path: str) -> tuple[str, str]:
    stats = lake.api.objects_api.stat_object(lake.repository, commit.commit, path)
    bucket, _, key = stats.physical_address.removeprefix("s3://").partition("/")
    return bucket, key


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone"])
def test_a_corrupt_object_is_never_handed_out(embedded_lake, tmp_path, damage):
    lake, store = embedded_lake
    commit = put(lake, {"raw/a.bin": b"a" * 1000, "raw/b.bin": b"b" * 1000}, tmp_path)
    bucket, key = address(lake, commit, "raw/a.bin")
    if damage == "gone":
        store.delete_object(Bucket=bucket, Key=key)
    else:
        store.put_object(Bucket=bucket, Key=key, Body=b"x" * (1000 if damage == "changed" else 999))
    with pytest.raises(CorruptObject) as caught:
        checkout(lake, commit, "raw")
    assert "X-Amz-Signature" not in str(caught.value)
    assert left_over(lake) == []
    assert [path.read_bytes()[:1] for path in stored(lake)] in ([], [b"b"])


@pytest.mark.parametrize("damaged", [False, True])
def test_objects_that_others_uploaded_are_verified_by_their_checksum(embedded_lake, damaged):
    lake, store = embedded_lake
    draft = open_draft(lake, "run-1", STATION)
    branch = lake.api.branches_api
    upload_by_server(lake, draft.branch, "raw/single.bin", b"s" * 5000)
    content = os.urandom(12 << 20)
    upload_by_boto(lake, store, draft.branch, "raw/parts.bin", content, part_bytes=8 << 20)
    assert branch.diff_branch(lake.repository, draft.branch).results
    commit = CommitRef(lake.repository, commit_draft(lake, draft, "By others", {}, PASSED).commit)
    stats = {stat.path: stat for stat in list_objects(lake, commit)}
    assert all(SHA256_KEY not in stat.metadata for stat in stats.values())
    assert stats["raw/parts.bin"].checksum.endswith("-2")
    if damaged:
        for path in stats:
            bucket, key = address(lake, commit, path)
            store.put_object(Bucket=bucket, Key=key, Body=b"x" * stats[path].size_bytes)
            with pytest.raises(CorruptObject):
                checkout(lake, commit, path)
        return
    with checkout(lake, commit) as files:
        assert files.path("raw/single.bin").read_bytes() == b"s" * 5000
        assert files.path("raw/parts.bin").read_bytes() == content
    with checkout(lake, commit) as files:
        assert files.fetched_bytes == 0


def upload_by_server(lake: Lake, branch: str, path: str, content: bytes) -> None:
    lake.api.objects_api.upload_object(lake.repository, branch, path, content=content)


def upload_by_boto(lake: Lake, store, branch: str, path: str, content: bytes, part_bytes: int) -> None:
    staging = lake.api.staging_api.get_physical_address(lake.repository, branch, path)
    bucket, _, key = staging.physical_address.removeprefix("s3://").partition("/")
    begun = store.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, first in enumerate(range(0, len(content), part_bytes), 1):
        body = content[first : first + part_bytes]
        names = {"Bucket": bucket, "Key": key, "UploadId": begun, "PartNumber": number}
        parts.append({"PartNumber": number, "ETag": store.upload_part(Body=body, **names)["ETag"]})
    names = {"Bucket": bucket, "Key": key, "UploadId": begun}
    etag = store.complete_multipart_upload(MultipartUpload={"Parts": parts}, **names)["ETag"]
    linked = MODELS.StagingMetadata(staging=staging, checksum=etag.strip('"'), size_bytes=len(content))
    lake.api.staging_api.link_physical_address(lake.repository, branch, path, staging_metadata=linked)


def test_a_disk_that_runs_full_leaves_nothing_half_written(lake, settings, tmp_path):
    commit = put(lake, {"raw/a.bin": b"a" * 1000, "raw/big.bin": os.urandom(3_000_000)}, tmp_path)
    with ProcessPoolExecutor(1, mp_context=FORKSERVER) as processes:
        said = processes.submit(checkout_with_small_files, settings, commit, 1_000_000).result()
    assert "the disk has no room" in said
    assert "HEADRACE_HOME" in said
    assert left_over(settings) == []
    assert all(path.stat().st_size == 1000 for path in stored(settings))


def test_a_disk_without_room_is_known_before_anything_is_fetched(lake, settings, tmp_path, monkeypatch):
    commit = put(lake, {"raw/a.bin": b"a" * 1000}, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=500)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskFull, match="500 are free"):
        checkout(lake, commit, "raw")
    assert stored(settings) == []
    assert left_over(settings) == []


def test_a_large_file_travels_in_parts_and_comes_back_the_same(lake, tmp_path):
    content = os.urandom((11 << 20) + 12345)
    file = tmp_path / "large.bin"
    file.write_bytes(content)
    seen: dict[str, int] = {}
    draft = open_draft(lake, "run-1", STATION)
    parting = Parting(threshold_bytes=1 << 20, part_bytes=5 << 20)
    done = upload(
        lake,
        draft,
        [file],
        "raw/big",
        parting=parting,
        progress=lambda path, size: seen.update({path: seen.get(path, 0) + size}),
    )
    assert (done.paths, done.sent_bytes) == (("raw/big/large.bin",), len(content))
    assert seen == {"raw/big/large.bin": len(content)}
    (stat,) = list_objects(lake, draft, "raw/big")
    thirds = [content[first : first + (5 << 20)] for first in range(0, len(content), 5 << 20)]
    assert stat.checksum == combined_etag(
        [hashlib.md5(part, usedforsecurity=False).digest() for part in thirds]
    )
    assert stat.checksum.endswith("-3")
    with checkout(lake, draft, "raw/big") as files:
        assert files.path("raw/big/large.bin").read_bytes() == content
    assert upload(lake, draft, [file], "raw/big", parting=parting).sent_bytes == 0


def test_a_lake_without_signed_addresses_takes_large_files_too(local_lake, tmp_path):
    content = os.urandom(6 << 20)
    file = tmp_path / "large.bin"
    file.write_bytes(content)
    draft = open_draft(local_lake, "run-1", STATION)
    upload(local_lake, draft, [file], "raw/big", parting=Parting(1 << 20, 5 << 20))
    with checkout(local_lake, draft, "raw/big") as files:
        assert files.path("raw/big/large.bin").read_bytes() == content
