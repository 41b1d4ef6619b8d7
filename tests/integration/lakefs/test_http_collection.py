"""Garbage collection: what goes, what stays, and what a reader meets."""

import secrets
import time

import pytest
from typer.testing import CliRunner

from include.cli.main import app as cli
from include.settings import settings
from include.stack.lakefs.collection import Collected, collect

DAY_S = 24 * 3600
OBJECTS = "/branches/main/objects"


async def put(api, repo, path, data) -> str:
    made = await api.post(f"{repo}{OBJECTS}?path={path}", content=data)
    return str(made.json()["physical_address"])


async def commit(api, repo, message, *, days_ago=0) -> str:
    body = {"message": message, "date": int(time.time()) - days_ago * DAY_S}
    return str((await api.post(f"{repo}/branches/main/commits", json=body)).json()["id"])


@pytest.fixture
async def history(api, repo):
    """`a` overwritten ten days ago and again one day ago, `b` unchanged; rules of five days."""
    addresses = {"old": await put(api, repo, "a", b"old"), "b": await put(api, repo, "b", b"b")}
    commits = {"old": await commit(api, repo, "old", days_ago=20)}
    addresses["middle"] = await put(api, repo, "a", b"middle")
    commits["middle"] = await commit(api, repo, "middle", days_ago=10)
    addresses["new"] = await put(api, repo, "a", b"new")
    commits["new"] = await commit(api, repo, "new", days_ago=1)
    rules = {"default_retention_days": 5, "branches": []}
    assert (await api.put(f"{repo}/settings/gc_rules", json=rules)).status_code == 204
    return addresses, commits


def stored(service) -> set[str]:
    return {blob.uri for blob in service.blockstore.walk("local://tests/data/", checksums=False)}


async def test_objects_of_expired_commits_go_and_read_410(api, repo, service, history):
    addresses, commits = history
    counted = collect(service, "tests", grace_s=0, dry_run=True)
    assert counted.expired > 0
    assert counted.size_bytes == len(b"old")
    assert stored(service) == set(addresses.values())
    done = (await api.post(f"/headrace{repo}/gc?grace_s=0")).json()
    assert done["dry_run"] is False
    assert {addresses["b"], addresses["new"]} <= stored(service)
    assert addresses["old"] not in stored(service)
    for path in ("objects", "objects/stat"):
        answer = await api.get(f"{repo}/refs/{commits['old']}/{path}?path=a")
        assert answer.status_code == 410
    assert (await api.get(f"{repo}/refs/{commits['old']}/objects?path=b")).content == b"b"
    assert (await api.get(f"{repo}/refs/main/objects?path=a")).content == b"new"
    copy = {"src_path": "a", "src_ref": commits["old"]}
    assert (await api.post(f"{repo}{OBJECTS}/copy?dest_path=c", json=copy)).status_code == 410


async def test_without_rules_nothing_expires(api, repo, service, history):
    await api.delete(f"{repo}/settings/gc_rules")
    assert collect(service, "tests", grace_s=0, dry_run=False) == Collected(0, 0, dry_run=False)
    assert stored(service) == set(history[0].values())


async def test_what_nothing_refers_to_goes_after_the_grace(api, repo, service):
    lost = await put(api, repo, "a", b"1")
    kept = await put(api, repo, "a", b"2")
    issued = (await api.get(f"{repo}/branches/main/staging/backing?path=x")).json()["physical_address"]
    writer = service.blockstore.writer(issued)
    writer.write(b"uploaded, not linked yet")
    writer.finish()
    assert collect(service, "tests", grace_s=3600, dry_run=False).unreferenced == 0
    future = [blob for blob in service.blockstore.walk("local://tests/data/") if blob.mtime <= time.time()]
    assert len(future) == 3
    time.sleep(1.1)  # modification times of files have whole seconds
    assert collect(service, "tests", grace_s=0, dry_run=True).unreferenced == 1
    assert collect(service, "tests", grace_s=0, dry_run=False).unreferenced == 1
    assert stored(service) == {kept, issued}
    assert lost not in stored(service)


async def test_imported_objects_are_never_deleted(api, repo, service):
    writer = service.blockstore.writer("local://elsewhere/file")
    writer.write(b"theirs")
    writer.finish()
    staged = {"physical_address": "local://elsewhere/file", "checksum": "c", "size_bytes": 6}
    assert (await api.put(f"{repo}{OBJECTS}?path=a", json=staged)).status_code == 201
    await commit(api, repo, "imported", days_ago=20)
    await put(api, repo, "a", b"ours")
    await commit(api, repo, "replaced", days_ago=10)
    await put(api, repo, "z", b"z")
    await commit(api, repo, "head")
    await api.put(f"{repo}/settings/gc_rules", json={"default_retention_days": 1, "branches": []})
    collect(service, "tests", grace_s=0, dry_run=False)
    assert service.blockstore.read("local://elsewhere/file", 0, 6) == b"theirs"


async def test_preparations_write_tables(api, repo, service, history):
    prepared = (await api.post(f"{repo}/gc/prepare_commits")).json()
    table = service.blockstore.read(prepared["gc_commits_location"], 0, 10_000).decode().splitlines()
    assert table[0] == "commit_id,expired,metarange_id"
    expired = {line.split(",")[0] for line in table[1:] if line.split(",")[1] == "true"}
    assert history[1]["old"] in expired
    assert history[1]["new"] not in expired
    addresses = service.blockstore.read(prepared["gc_addresses_location"], 0, 10_000).decode().split()
    assert [address in history[0]["old"] for address in addresses].count(True) == 1
    task = (await api.post(f"{repo}/gc/prepare_commits/async")).json()["id"]
    status = (await api.get(f"{repo}/gc/prepare_commits/status?id={task}")).json()
    assert (status["completed"], status["task_id"]) == (True, task)
    assert set(status["result"]) >= {"run_id", "gc_commits_location", "gc_addresses_location"}
    assert (await api.get(f"{repo}/gc/prepare_commits/status?id=none")).status_code == 404
    uncommitted = (await api.post(f"{repo}/gc/prepare_uncommited", json={})).json()
    referenced = service.blockstore.read(uncommitted["gc_uncommitted_location"], 0, 10_000).decode().split()
    assert {address.removeprefix("local://tests/") for address in history[0].values()} <= set(referenced)
    assert (
        await api.post(f"{repo}/gc/prepare_uncommited", json={"continuation_token": "x"})
    ).status_code == 400


async def test_unknown_repositories_are_404(api):
    for path in ("/repositories/none/gc/prepare_commits", "/headrace/repositories/none/gc"):
        assert (await api.post(path)).status_code == 404


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_the_command_collects_on_a_running_server(start, monkeypatch, tmp_path, request, kind):
    s3 = request.getfixturevalue("seaweedfs") if kind == "s3" else None
    namespace = "local://tests" if s3 is None else f"s3://headrace-lake/{secrets.token_hex(8)}"
    server = start(s3=s3)
    for key, value in server.access.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    with server.http as http:
        http.post("/repositories", json={"name": "tests", "storage_namespace": namespace})
        for data in (b"1", b"2"):
            http.post("/repositories/tests/branches/main/objects?path=a", content=data)
        time.sleep(1.1)  # S3 tells times in whole seconds
        told = []
        for flags in (["--dry-run"], [], []):
            done = CliRunner().invoke(cli, ["lakefs", "gc", "tests", "--grace-hours", "0", *flags])
            assert done.exit_code == 0, done.output
            told.append(done.output.strip().removeprefix("tests: 0 expired and "))
        assert told == [
            "1 unreferenced objects would be deleted, 1 bytes",
            "1 unreferenced objects deleted, 1 bytes",
            "0 unreferenced objects deleted, 0 bytes",
        ]
        assert http.get("/repositories/tests/refs/main/objects?path=a").content == b"2"
    assert CliRunner().invoke(cli, ["lakefs", "gc", "none"]).exit_code == 1
    monkeypatch.setenv("HEADRACE_LAKEFS_SECRET_ACCESS_KEY", "wrong")
    settings.cache_clear()
    assert CliRunner().invoke(cli, ["lakefs", "gc", "tests"]).exit_code == 1
    settings.cache_clear()
