"""The lake server killed with SIGKILL again and again while clients write, commit and merge.

After each restart all that was acknowledged is there, what was under way is there wholly or not at all,
and the store is sound.
"""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.stack import lake_server
from include.stack.credentials import KeyPair
from include.stack.ports import free_ports
from include.stack.server import Server, inherited_environment

pytestmark = [pytest.mark.faults, pytest.mark.integration]

ROUNDS = 8
WORKERS = 4
START_TIMEOUT_S = 20
REPO = "/repositories/survivor"

Tree = dict[str, str | None]


@dataclass
class Worker:
    """What one client knows of its own branch; `pending` is the one request that was not answered."""

    number: int
    head: str = ""
    committed: Tree = field(default_factory=dict)
    staged: Tree = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)
    pending: tuple[str, str, str | None] | None = None
    steps: int = 0
    answered: int = 0

    @property
    def branch(self) -> str:
        return f"w{self.number}"

    def view(self) -> dict[str, str]:
        return present({**self.committed, **self.staged})

    def ask(
        self, client: httpx.Client, method: str, path: str, pending: tuple[str, str, str | None], **data: Any
    ) -> Any:
        self.pending = pending
        answer = client.request(method, REPO + path, **data)
        assert answer.status_code < 300 or answer.status_code == 423, answer.text
        self.pending = None
        self.answered += 1
        return answer

    def put(self, client: httpx.Client, path: str, content: str) -> None:
        url = f"/branches/{self.branch}/objects"
        self.ask(client, "POST", url, ("put", path, content), params={"path": path}, content=content)
        self.staged[path] = content

    def delete(self, client: httpx.Client, path: str) -> None:
        url = f"/branches/{self.branch}/objects"
        self.ask(client, "DELETE", url, ("put", path, None), params={"path": path})
        self.staged[path] = None

    def commit(self, client: httpx.Client) -> None:
        message = {"message": f"{self.branch} {self.steps}"}
        answer = self.ask(
            client, "POST", f"/branches/{self.branch}/commits", ("commit", "", None), json=message
        )
        if answer.status_code != 423:
            self.take_commit(answer.json()["id"])

    def take_commit(self, head: str) -> None:
        self.committed = {**self.committed, **self.staged}
        self.staged, self.head = {}, head

    def merge(self, client: httpx.Client) -> None:
        answer = self.ask(
            client, "POST", f"/refs/{self.branch}/merge/main", ("merge", self.head, None), json={}
        )
        if answer.status_code != 423:
            self.merged.append(answer.json()["reference"])

    def work(self, client: httpx.Client, stop: threading.Event) -> None:
        """Steps of three writes, a delete of an older path, a commit, a merge; until the server is gone."""
        with contextlib.suppress(httpx.TransportError):
            while not stop.is_set():
                self.steps += 1
                for letter in "abc":
                    self.put(
                        client,
                        f"{self.branch}/{self.steps:04d}/{letter}",
                        f"{self.number} {self.steps} {letter}",
                    )
                if self.steps > 2:
                    self.delete(client, f"{self.branch}/{self.steps - 2:04d}/c")
                self.commit(client)
                self.merge(client)


def present(tree: Tree) -> dict[str, str]:
    return {path: content for path, content in tree.items() if content is not None}


@contextlib.contextmanager
def serving(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """The server, healthy; killed with SIGKILL at the end of the block."""
    server.folder.mkdir(parents=True, exist_ok=True)
    with (server.folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            server.command,
            cwd=server.folder,
            env={**inherited_environment(), **server.environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.health():
            assert process.poll() is None, (server.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def entries(client: httpx.Client, ref: str) -> list[str]:
    found, after = [], ""
    while True:
        answer = client.get(f"{REPO}/refs/{ref}/objects/ls", params={"after": after, "amount": 1000})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [entry["path"] for entry in page["results"]]
        if not page["pagination"]["has_more"]:
            return found
        after = page["pagination"]["next_offset"]


def log_of(client: httpx.Client, ref: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        answer = client.get(f"{REPO}/refs/{ref}/commits", params={"after": after, "amount": 1000})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["results"]
        if not page["pagination"]["has_more"]:
            return found
        after = page["pagination"]["next_offset"]


def read(client: httpx.Client, ref: str, path: str) -> str:
    answer = client.get(f"{REPO}/refs/{ref}/objects", params={"path": path})
    assert answer.status_code == 200, (ref, path, answer.text)
    return answer.text


def settle(client: httpx.Client, worker: Worker) -> None:
    """Find out what became of the request that was not answered; everything else must be as it was."""
    kind, path, content = worker.pending or ("", "", None)
    head = client.get(f"{REPO}/branches/{worker.branch}").json()["commit_id"]
    if head != worker.head:
        assert kind == "commit", f"{worker.branch} moved without a commit"
        commit = client.get(f"{REPO}/commits/{head}").json()
        assert commit["parents"] == [worker.head]
        worker.take_commit(head)
    if kind == "put":
        there = path in entries(client, worker.branch)
        if content is None and not there:
            worker.staged[path] = None
        elif content is not None and there:
            worker.staged[path] = content
    worker.pending = None
    assert entries(client, f"{worker.branch}@") == sorted(present(worker.committed))
    assert entries(client, worker.branch) == sorted(worker.view())


def check_contents(client: httpx.Client, worker: Worker, since_step: int) -> None:
    for path, content in worker.view().items():
        if int(path.split("/")[1]) >= since_step:
            assert read(client, worker.branch, path) == content


def check_main(client: httpx.Client, workers: list[Worker]) -> None:
    """Every acknowledged merge is on main, in one unbroken chain; main holds nothing half merged."""
    log = log_of(client, "main")
    known = {commit["id"]: commit for commit in log}
    assert len(known) == len(log)
    for commit in log:
        assert all(parent in known for parent in commit["parents"])
    merged = {reference for worker in workers for reference in worker.merged}
    assert merged <= set(known)
    latest: dict[str, str] = {}
    chain = log[0]
    while chain["parents"]:
        if len(chain["parents"]) == 2:
            owner = known[chain["parents"][1]]["message"].split()[0]
            latest.setdefault(owner, chain["parents"][1])
        chain = known[chain["parents"][0]]
    expected = [path for head in latest.values() for path in entries(client, head)]
    assert entries(client, "main") == sorted(expected)


def check_store(data: Path, scratch: Path) -> None:
    """SQLite's own check, on a copy, so that the server still finds what the kill left."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for file in data.glob("metadata.db*"):
        shutil.copy2(file, scratch)
    with contextlib.closing(sqlite3.connect(scratch / "metadata.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.timeout(240)
def test_killed_in_a_loop(tmp_path: Path) -> None:
    keys = KeyPair.generate()
    server = lake_server.server(tmp_path / "lakefs", free_ports(1)[0], keys, None)
    workers = [Worker(number) for number in range(WORKERS)]
    base_url, auth = f"{server.url}/api/v1", (keys.access_key_id, keys.secret_access_key)
    waits = random.Random(20261121)
    for turn in range(ROUNDS + 1):
        with serving(server) as process, httpx.Client(base_url=base_url, auth=auth, timeout=20) as client:
            if turn == 0:
                prepare(client, workers)
            for worker in workers:
                settle(client, worker)
                check_contents(client, worker, worker.steps - 1 if turn < ROUNDS else 0)
            check_main(client, workers)
            if turn < ROUNDS:
                work_until_killed(process, waits.uniform(0.3, 1.2), base_url, auth, workers)
        check_store(tmp_path / "lakefs", tmp_path / "scratch")
    assert sum(worker.answered for worker in workers) > ROUNDS * WORKERS * 6
    assert any(worker.merged for worker in workers)


def prepare(client: httpx.Client, workers: list[Worker]) -> None:
    made = client.post("/repositories", json={"name": "survivor", "storage_namespace": "local://survivor"})
    assert made.status_code == 201, made.text
    for worker in workers:
        answer = client.post(f"{REPO}/branches", json={"name": worker.branch, "source": "main"})
        assert answer.status_code == 201, answer.text
        worker.head = answer.text


def work_until_killed(
    process: subprocess.Popen[bytes],
    seconds: float,
    base_url: str,
    auth: tuple[str, str],
    workers: list[Worker],
) -> None:
    """Let the workers loose and kill the server under them."""
    stop = threading.Event()
    before = [worker.answered for worker in workers]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(workers)) as pool:
        futures = []
        for worker in workers:
            client = httpx.Client(base_url=base_url, auth=auth, timeout=20)
            futures.append(pool.submit(worker.work, stack.enter_context(client), stop))
        deadline = time.monotonic() + START_TIMEOUT_S
        while any(worker.answered == count for worker, count in zip(workers, before, strict=True)):
            assert time.monotonic() < deadline, "a worker got no answer at all"
            time.sleep(0.01)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        stop.set()
        for future in futures:
            future.result(30)
