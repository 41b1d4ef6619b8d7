"""Imports over a local folder, and their cancelling."""

import asyncio
import threading
from typing import Any

import pytest

IMPORT = "/branches/main/import"


def write(service, uri: str, data: bytes) -> None:
    writer = service.blockstore.writer(uri)
    writer.write(data)
    writer.finish()


async def finished(api, repo, body) -> dict[str, Any]:
    started = await api.post(f"{repo}{IMPORT}", json=body)
    assert started.status_code == 202, started.text
    for _ in range(500):
        status: dict[str, Any] = (await api.get(f"{repo}{IMPORT}?id={started.json()['id']}")).json()
        if status["completed"] or "error" in status:
            return status
        await asyncio.sleep(0.02)
    raise AssertionError("the import does not end")


def source(kind: str, path: str, destination: str) -> dict[str, str]:
    return {"type": kind, "path": path, "destination": destination}


def request(*paths: dict[str, str], message: str = "imported") -> dict[str, object]:
    return {"paths": list(paths), "commit": {"message": message, "metadata": {"k": "v"}}}


async def test_prefixes_and_objects_become_one_commit(api, repo, service):
    for key in ("in/a", "in/b/c", "other"):
        write(service, f"local://outside/{key}", key.encode())
    body = request(
        source("common_prefix", "local://outside/in/", "x"), source("object", "local://outside/other", "y/z")
    )
    status = await finished(api, repo, body)
    assert (status["completed"], status["ingested_objects"]) == (True, 3)
    assert status["commit"]["message"] == "imported"
    assert status["commit"]["metadata"]["k"] == "v"
    found = (await api.get(f"{repo}/refs/main/objects/ls")).json()["results"]
    assert [entry["path"] for entry in found] == ["x/a", "x/b/c", "y/z"]
    assert found[0]["physical_address"] == "local://outside/in/a"
    assert (await api.get(f"{repo}/refs/main/objects?path=x/b/c")).content == b"in/b/c"


async def test_an_import_replaces_what_was_under_its_destination(api, repo, service):
    write(service, "local://outside/in/a", b"1")
    await finished(api, repo, request(source("common_prefix", "local://outside/in/", "x/")))
    service.blockstore.delete(["local://outside/in/a"])
    write(service, "local://outside/in/b", b"2")
    await finished(api, repo, request(source("common_prefix", "local://outside/in/", "x/")))
    found = (await api.get(f"{repo}/refs/main/objects/ls")).json()["results"]
    assert [entry["path"] for entry in found] == ["x/b"]


@pytest.mark.parametrize(
    "bad",
    [
        source("folder", "local://outside/", "x"),
        source("common_prefix", "s3://outside/", "x"),
        source("common_prefix", "local://../../etc/", "x"),
        source("object", "local://outside/../../etc/passwd", "x"),
        source("object", "local://outside/a", ""),
    ],
)
async def test_bad_sources_are_400(api, repo, bad):
    assert (await api.post(f"{repo}{IMPORT}", json=request(bad))).status_code == 400


async def test_a_missing_object_fails_the_import_and_changes_nothing(api, repo):
    status = await finished(api, repo, request(source("object", "local://outside/none", "x")))
    assert status["completed"] is False
    assert status["error"] == {"message": "No data"}
    assert (await api.get(f"{repo}/refs/main/objects/ls")).json()["results"] == []


async def test_a_canceled_import_changes_nothing(api, repo, service, monkeypatch):
    for number in range(50):
        write(service, f"local://outside/in/{number}", b"1")
    walk = service.blockstore.walk
    running, may_go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(uri, **options):
        for blob in walk(uri, **options):
            loop.call_soon_threadsafe(running.set)
            may_go_on.wait(10)
            yield blob

    monkeypatch.setattr(service.blockstore, "walk", slowly)
    started = await api.post(
        f"{repo}{IMPORT}", json=request(source("common_prefix", "local://outside/in/", "x"))
    )
    await asyncio.wait_for(running.wait(), 10)
    url = f"{repo}{IMPORT}?id={started.json()['id']}"
    assert (await api.delete(url)).status_code == 204
    may_go_on.set()
    status: dict[str, Any] = {}
    for _ in range(500):
        status = (await api.get(url)).json()
        if "error" in status:
            break
        await asyncio.sleep(0.02)
    assert (status["completed"], status["error"]) == (False, {"message": "import canceled"})
    assert (await api.delete(url)).status_code == 409
    assert (await api.get(f"{repo}/refs/main/objects/ls")).json()["results"] == []
    assert (await api.get(f"{repo}{IMPORT}?id=none")).status_code == 404
