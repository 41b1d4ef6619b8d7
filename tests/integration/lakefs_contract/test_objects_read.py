import email.utils
import hashlib
import io
import time

import httpx
import pytest

pytestmark = pytest.mark.integration

DATA = b"0123456789"


@pytest.fixture
def ten(main, put):
    main.object("ten.txt").upload(DATA, pre_sign=False, content_type="text/plain")
    return main.object("ten.txt")


@pytest.fixture
def url(repo):
    return f"/repositories/{repo.id}/refs/main/objects?path=ten.txt"


def test_get_whole(http, url, ten):
    answer = http.get(url)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["Content-Type"].split(";")[0] == "text/plain"
    assert answer.headers["ETag"] == f'"{ten.stat().checksum}"'
    modified = email.utils.parsedate_to_datetime(answer.headers["Last-Modified"])
    assert abs(modified.timestamp() - time.time()) < 120


@pytest.mark.parametrize(
    ("wanted", "expected", "told"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=5-", b"56789", "bytes 5-9/10"),
        ("bytes=9-", b"9", "bytes 9-9/10"),
        ("bytes=-4", b"6789", "bytes 6-9/10"),
        ("bytes=-100", DATA, "bytes 0-9/10"),
        ("bytes=2-999", b"23456789", "bytes 2-9/10"),
        ("bytes=0-", DATA, "bytes 0-9/10"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range(http, url, ten, method, wanted, expected, told):
    answer = http.request(method, url, headers={"Range": wanted})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == told
    assert answer.headers["Content-Length"] == str(len(expected))
    assert answer.content == (expected if method == "GET" else b"")


@pytest.mark.parametrize(
    "wanted", ["bytes=10-", "bytes=10-20", "bytes=99-", "bytes=5-2", "items=0-1", "bytes=a-b"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range_that_cannot_be_satisfied_is_416(http, url, ten, method, wanted):
    assert http.request(method, url, headers={"Range": wanted}).status_code == 416


def test_416_tells_the_size(http, url, ten):
    assert http.get(url, headers={"Range": "bytes=10-"}).headers["Content-Range"] == "bytes */10"


def test_head(http, url, ten, repo):
    answer = http.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["ETag"] == f'"{ten.stat().checksum}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"].split(";")[0] == "text/plain"
    missing = http.head(f"/repositories/{repo.id}/refs/main/objects?path=none")
    assert (missing.status_code, missing.content) == (404, b"")


def test_get_if_none_match(http, url, ten):
    etag = http.head(url).headers["ETag"]
    assert http.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert http.get(url, headers={"If-None-Match": '"other"'}).content == DATA


def test_get_presigned(target, http, url, ten):
    answer = http.get(url + "&presign=true")
    if target.storage.pre_sign_support:
        assert answer.status_code == 302
        assert httpx.get(answer.headers["Location"]).content == DATA
        ranged = httpx.get(answer.headers["Location"], headers={"Range": "bytes=2-4"})
        assert (ranged.status_code, ranged.content) == (206, b"234")
    else:
        assert answer.status_code == 400
        assert answer.json()["message"]


def test_sdk_reader_seeks_and_reads(target, ten):
    for pre_sign in {False, target.storage.pre_sign_support}:
        with ten.reader(mode="rb", pre_sign=pre_sign) as reader:
            assert reader.read(4) == b"0123"
            reader.seek(-3, io.SEEK_END)
            assert reader.read() == b"789"
            assert reader.read(1) == b""
            reader.seek(5)
            assert reader.read(100) == b"56789"
            reader.seek(99)
            assert reader.read(1) == b""


def test_empty_object(target, main, http, repo):
    for pre_sign in {False, target.storage.pre_sign_support}:
        empty = main.object("empty").upload(b"", pre_sign=pre_sign)
        assert empty.stat().size_bytes == 0
        with empty.reader(pre_sign=False) as reader:
            assert reader.read() == b""
            assert reader.read(1) == b""
        answer = http.get(f"/repositories/{repo.id}/refs/main/objects?path=empty")
        assert (answer.status_code, answer.content) == (200, b"")


def test_stat(target, main, ten, put):
    stat = ten.stat()
    assert stat.path == "ten.txt"
    assert stat.size_bytes == 10
    assert stat.checksum == hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert stat.content_type == "text/plain"
    assert stat.physical_address.startswith(target.namespace_prefix)
    assert abs(stat.mtime - time.time()) < 120
    assert stat.metadata == {}


def test_stat_presigned(api, target, repo, ten):
    if not target.storage.pre_sign_support:
        pytest.skip("this blockstore cannot pre-sign, and says so in /config")
    stat = api.objects_api.stat_object(repo.id, "main", "ten.txt", presign=True)
    assert httpx.get(stat.physical_address).content == DATA
    assert stat.physical_address_expiry is None or stat.physical_address_expiry > time.time()


def test_stat_without_user_metadata(api, repo, main, put):
    put(main, "a", metadata={"k": "v"})
    assert api.objects_api.stat_object(repo.id, "main", "a").metadata == {"k": "v"}
    assert not api.objects_api.stat_object(repo.id, "main", "a", user_metadata=False).metadata


def test_exists(main, ten):
    assert ten.exists()
    assert not main.object("none").exists()


def test_missing_path_ref_and_repository_are_404(main, repo, refuses):
    for ref, path in (("main", "none"), ("none", "ten.txt"), ("main@", "ten.txt")):
        obj = repo.ref(ref).object(path)
        with refuses(404):
            obj.stat()
        with refuses(404):
            obj.reader(pre_sign=False).read()
        assert not obj.exists()


def test_empty_path_is_400(http, repo):
    assert http.get(f"/repositories/{repo.id}/refs/main/objects?path=").status_code in {400, 404}
    assert http.get(f"/repositories/{repo.id}/refs/main/objects").status_code == 400


def test_underlying_properties(api, repo, ten):
    api.objects_api.get_underlying_properties(repo.id, "main", "ten.txt")


def test_large_object_comes_back_in_ranges(main):
    data = bytes(range(256)) * 4096 * 5  # 5 MiB
    big = main.object("big").upload(data)
    assert big.stat().size_bytes == len(data)
    with big.reader() as reader:
        reader.seek(3_000_000)
        assert reader.read(1000) == data[3_000_000:3_001_000]
    with big.reader(pre_sign=False) as reader:
        assert hashlib.sha256(reader.read()).digest() == hashlib.sha256(data).digest()
