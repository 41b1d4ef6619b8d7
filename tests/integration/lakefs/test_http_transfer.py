"""Bytes in and out: forms, ranges, conditions, memory, what is left of a failure."""

import base64
import errno
import hashlib
import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from include.stack.lakefs.blockstore.local import LocalStore
from include.stack.lakefs.blockstore.store import BytesMissing, StorageFull
from include.stack.lakefs.model import Invalid
from include.stack.lakefs.upload import SPILL_BYTES

OBJECTS = "/branches/main/objects"
READ = "/refs/main/objects"
OTHER_FORM = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n'


async def test_a_form_and_a_raw_body_give_the_same_object(api, repo):
    data = secrets.token_bytes(5000)
    raw = await api.post(f"{repo}{OBJECTS}?path=raw", content=data, headers={"Content-Type": "text/x"})
    files = {"other": ("o", b"not this"), "content": ("name.bin", data, "text/x")}
    form = await api.post(f"{repo}{OBJECTS}?path=form", files=files)
    assert (raw.status_code, form.status_code) == (201, 201)
    for made in (raw.json(), form.json()):
        assert made["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
        assert (made["size_bytes"], made["content_type"]) == (5000, "text/x")
    assert (await api.get(f"{repo}{READ}?path=form")).content == data


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (b"x", "multipart/form-data", "no boundary"),
        (b"garbage", "multipart/form-data; boundary=b", "cannot be read"),
        (
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "content",
        ),
    ],
)
async def test_bad_forms_are_400_and_leave_nothing(api, repo, service, body, content_type, says):
    answer = await api.post(f"{repo}{OBJECTS}?path=a", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert list(service.blockstore.walk("local://tests/data/")) == []


RANGES = [
    ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
    ("bytes=8-", 206, b"89", "bytes 8-9/10"),
    ("bytes=-3", 206, b"789", "bytes 7-9/10"),
    ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
    ("bytes=-100", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=10-", 416, None, "bytes */10"),
    ("bytes=7-3", 416, None, "bytes */10"),
    ("bytes=-0", 416, None, "bytes */10"),
    ("bytes=-", 416, None, "bytes */10"),
    ("bytes=0-1,3-4", 416, None, "bytes */10"),
    ("lines=0-1", 416, None, "bytes */10"),
]


@pytest.mark.parametrize(("asked", "status", "data", "told"), RANGES)
async def test_ranges(api, repo, asked, status, data, told):
    await api.post(f"{repo}{OBJECTS}?path=ten", content=b"0123456789")
    answer = await api.get(f"{repo}{READ}?path=ten", headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (status, told)
    head = await api.head(f"{repo}{READ}?path=ten", headers={"Range": asked})
    assert (head.status_code, head.content) == (status, b"")
    if data is not None:
        assert answer.content == data
        assert head.headers["content-length"] == str(len(data))


async def test_an_empty_object_has_no_range(api, repo):
    await api.post(f"{repo}{OBJECTS}?path=empty", content=b"")
    assert (await api.get(f"{repo}{READ}?path=empty")).content == b""
    answer = await api.get(f"{repo}{READ}?path=empty", headers={"Range": "bytes=0-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


async def test_conditions(api, repo):
    url = f"{repo}{OBJECTS}?path=a"
    first = (await api.post(url, content=b"1")).json()["checksum"]
    taken = await api.post(url, content=b"2", headers={"If-None-Match": "*"})
    assert (taken.status_code, taken.json()) == (412, {"message": "path already exists"})
    assert (await api.post(url, content=b"2", headers={"If-None-Match": "x"})).status_code == 400
    assert (await api.post(url, content=b"2", headers={"If-Match": '"x"'})).status_code == 412
    assert (await api.post(url, content=b"2", headers={"If-Match": f'"{first}"'})).status_code == 201
    etag = (await api.get(f"{repo}{READ}?path=a")).headers["etag"]
    assert (await api.get(f"{repo}{READ}?path=a", headers={"If-None-Match": etag})).status_code == 304


async def test_a_refused_condition_leaves_no_bytes(api, repo, service):
    url = f"{repo}{OBJECTS}?path=a"
    await api.post(url, content=b"1")
    for headers in ({"If-None-Match": "*"}, {"If-Match": '"x"'}):
        assert (await api.post(url, content=b"2", headers=headers)).status_code == 412
    assert len(list(service.blockstore.walk("local://tests/data/"))) == 1


async def test_headers_that_a_client_chose_stay_headers(api, repo):
    chosen = {"Content-Type": "text/plain; a=\u00fc".encode(), "x-lakefs-meta-Key": "value"}
    made = await api.post(f"{repo}{OBJECTS}?path=a", content=b"1", headers=chosen)
    assert made.json()["metadata"] == {"key": "value"}
    answer = await api.get(f"{repo}{READ}?path=a")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    staged = {"physical_address": "local://tests/data/x", "checksum": "c", "size_bytes": 0}
    staged["content_type"] = "text/plain\r\nX-Injected: 1"
    assert (await api.put(f"{repo}{OBJECTS}?path=b", json=staged)).status_code == 201
    assert "x-injected" not in (await api.get(f"{repo}{READ}?path=b")).headers


async def test_bytes_that_vanished_are_410(api, repo, service):
    made = (await api.post(f"{repo}{OBJECTS}?path=a", content=b"1")).json()
    service.blockstore.delete([made["physical_address"]])
    assert (await api.get(f"{repo}{READ}?path=a")).status_code == 410
    assert (await api.get(f"{repo}{READ}/stat?path=a")).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "local://tests/data/../../../etc/passwd",
        "local://other/data/x",
        "local://tests/",
        "local://testsx/data/x",
        "/etc/passwd",
        "s3://tests/data/x",
        "",
    ],
)
async def test_only_issued_addresses_of_the_namespace_link(api, repo, address):
    body = {"staging": {"physical_address": address}, "checksum": "c", "size_bytes": 1}
    answer = await api.put(f"{repo}/branches/main/staging/backing?path=a", json=body)
    assert answer.status_code == 400
    assert (await api.get(f"{repo}{READ}/stat?path=a")).status_code == 404


@pytest.mark.parametrize(
    "address", ["local://tests/../../x", "local://../x", "local://", "file:///etc/passwd"]
)
async def test_staged_addresses_stay_in_the_blockstore(api, repo, address):
    body = {"physical_address": address, "checksum": "c", "size_bytes": 1}
    assert (await api.put(f"{repo}{OBJECTS}?path=a", json=body)).status_code == 400


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    store = LocalStore(tmp_path / "blocks")
    (tmp_path / "secret").write_text("secret")
    (store.root / "ns").mkdir()
    (store.root / "ns" / "link").symlink_to(tmp_path / "secret")
    (store.root / "ns" / "folder").symlink_to(tmp_path)
    for uri in ("local://ns/link", "local://ns/folder/secret"):
        with pytest.raises(Invalid):
            store.read(uri, 0, 6)
    assert list(store.walk("local://ns/")) == []


def test_a_full_disk_is_507_and_leaves_nothing(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "blocks")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    writer = store.writer("local://ns/data/a")
    writer.write(b"x")
    with pytest.raises(StorageFull):
        writer.finish()
    writer.abort()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_walk_is_in_key_order_and_relative_to_the_last_slash(tmp_path):
    store = LocalStore(tmp_path / "blocks")
    for key in ("p/a/1", "p/a-b", "p/ab", "p/a/0/z", "q"):
        writer = store.writer(f"local://ns/{key}")
        writer.write(key.encode())
        writer.finish()
    assert [blob.key for blob in store.walk("local://ns/p/")] == ["a-b", "a/0/z", "a/1", "ab"]
    assert [blob.key for blob in store.walk("local://ns/p/a")] == ["a-b", "a/0/z", "a/1", "ab"]
    assert [blob.key for blob in store.walk("local://ns/p/ab")] == ["ab"]
    assert next(store.walk("local://ns/q")).checksum == hashlib.md5(b"q", usedforsecurity=False).hexdigest()
    store.copy("local://ns/q", "local://ns/r")
    store.delete(["local://ns/q", "local://ns/none"])
    assert store.read("local://ns/r", 0, 9) == b"q"
    with pytest.raises(BytesMissing):
        store.read("local://ns/q", 0, 9)


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def pid_listening(port: int) -> int:
    """The process that listens on a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.readlink().name == f"socket:[{inode}]":
                return int(entry.parts[2])
        except OSError:
            continue
    raise AssertionError(f"nobody listens on {port}")


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_large_bodies_pass_in_bounded_memory(start, request, kind):
    s3 = request.getfixturevalue("seaweedfs") if kind == "s3" else None
    server = start(s3=s3)
    namespace = "local://big" if s3 is None else f"s3://headrace-lake/{secrets.token_hex(8)}"
    block = secrets.token_bytes(2**20)
    digest = hashlib.md5(usedforsecurity=False)
    with server.http as http:
        body = {"name": "big", "storage_namespace": namespace}
        assert http.post("/repositories", json=body).status_code == 201
        before = peak_bytes(pid_listening(int(server.access.endpoint.rpartition(":")[2])))

        def blocks():
            for _ in range(200):
                digest.update(block)
                yield block

        made = http.post("/repositories/big/branches/main/objects?path=a", content=blocks())
        assert (made.status_code, made.json()["size_bytes"]) == (201, 200 * 2**20)
        assert made.json()["checksum"] == digest.hexdigest()
        found = hashlib.md5(usedforsecurity=False)
        with http.stream("GET", "/repositories/big/refs/main/objects?path=a") as answer:
            for piece in answer.iter_bytes():
                found.update(piece)
        assert found.hexdigest() == digest.hexdigest()
        after = peak_bytes(pid_listening(int(server.access.endpoint.rpartition(":")[2])))
    assert after - before < 100 * 2**20


@pytest.mark.integration
@pytest.mark.parametrize("sent", [1000, 5 * 2**20], ids=["small", "spilled"])
def test_a_client_that_goes_away_leaves_nothing(start, sent):
    server = start()
    port = int(server.access.endpoint.rpartition(":")[2])
    keys = f"{server.access.access_key_id}:{server.access.secret_access_key}".encode()
    with server.http as http:
        http.post("/repositories", json={"name": "cut", "storage_namespace": "local://cut"})
        head = (
            "POST /api/v1/repositories/cut/branches/main/objects?path=a HTTP/1.1\r\nHost: lake\r\n"
            f"Authorization: Basic {base64.b64encode(keys).decode()}\r\nContent-Length: {sent + 1000}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + b"x" * sent)
            deadline = time.monotonic() + 10
            unfinished = server.folder / "blocks" / ".unfinished"
            while sent > SPILL_BYTES and not list(unfinished.iterdir()) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(list(unfinished.iterdir())) == (sent > SPILL_BYTES)
        while list(unfinished.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(unfinished.iterdir()) == []
        assert not (server.folder / "blocks" / "cut" / "data").exists()
        assert http.get("/repositories/cut/refs/main/objects/stat?path=a").status_code == 404
