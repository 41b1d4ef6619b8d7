"""Starting and stopping: ports, flags, samples, and what is found again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import lakefs
import pytest

from include.stack.credentials import KeyPair
from include.stack.lakefs.quickstart import IMAGES, lakes_table, sample_files
from include.stack.ports import free_ports
from include.stack.seaweedfs import S3Access
from tests.integration.lakefs.conftest import Started

pytestmark = pytest.mark.integration


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "include.stack.lakefs", *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_taken_port_is_one_clear_error(start, tmp_path):
    port = start().access.endpoint.rpartition(":")[2]
    done = run(f"--port={port}", f"--data={tmp_path / 'other'}", "--blockstore=local")
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_keys_are_one_clear_error(tmp_path):
    done = run("--port=0", f"--data={tmp_path}")
    assert done.returncode == 1
    assert "HEADRACE_S3_ACCESS_KEY_ID" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_store_is_told_and_creates_nothing(tmp_path, start):
    nowhere = S3Access(f"http://127.0.0.1:{free_ports(1)[0]}", KeyPair.generate())
    with start(s3=nowhere).http as http:
        body = {"name": "tests", "storage_namespace": "s3://headrace-lake/x"}
        answer = http.post("/repositories", json=body)
        assert answer.status_code == 400
        assert "failed to access storage" in answer.json()["message"]
        assert nowhere.keys.secret_access_key not in answer.text
        assert http.get("/repositories").json()["results"] == []


def test_imports_stay_light():
    heavy = {"pandas", "pyarrow", "boto3", "numpy", "typer", "pydantic", "lakefs", "yaml", "jwt"}
    code = "import sys, include.stack.lakefs.__main__, include.stack.lakefs.app; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "starlette" in loaded
    assert heavy & loaded == set()


def test_quickstart_is_seeded_once_and_kept(start, tmp_path):
    first = start(tmp_path / "seed", quickstart=True)
    repository = lakefs.Repository("quickstart", client=first.client)
    paths = [entry.path for entry in repository.branch("main").objects()]
    assert len(paths) == 3 + IMAGES
    assert {"README.md", "data/lakes.source.md", "lakes.parquet"} <= set(paths)
    size_bytes = repository.branch("main").object("lakes.parquet").stat().size_bytes
    assert size_bytes is not None
    assert size_bytes > 512 * 1024
    head = repository.branch("main").head.id
    stop(first)
    again = start(tmp_path / "seed", quickstart=True)
    assert lakefs.Repository("quickstart", client=again.client).branch("main").head.id == head


def test_samples_are_the_same_everywhere():
    assert lakes_table() == lakes_table()
    files = {path: data for path, data, _ in sample_files("x")}
    assert sum(map(len, files.values())) > 2**20
    assert all(data.startswith(b"\x89PNG") for path, data in files.items() if path.endswith(".png"))


def stop(server: Started) -> None:
    from tests.integration.lakefs.test_http_transfer import pid_listening

    pid = pid_listening(int(server.access.endpoint.rpartition(":")[2]))
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{server.access.endpoint}/_health", timeout=1)
        except httpx.TransportError:
            return
        time.sleep(0.05)
    raise AssertionError("the server did not stop")


def test_secrets_are_in_no_log_and_on_no_command_line(start, tmp_path):
    server = start(tmp_path / "quiet")
    secret = server.access.secret_access_key
    with server.http as http:
        http.get("/config", auth=("x", "wrong-secret"))
        http.post(
            "/auth/login", json={"access_key_id": server.access.access_key_id, "secret_access_key": secret}
        )
        http.get("/repositories/none")
    for log in tmp_path.rglob("*.log"):
        assert secret not in log.read_text()
        assert "wrong-secret" not in log.read_text()
    from tests.integration.lakefs.test_http_transfer import pid_listening

    pid = pid_listening(int(server.access.endpoint.rpartition(":")[2]))
    assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_command_is_the_same_server(tmp_path):
    port = free_ports(1)[0]
    command = [
        str(Path(sys.executable).parent / "headrace"),
        "lakefs",
        "--port",
        str(port),
        "--data",
        str(tmp_path),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    with subprocess.Popen(
        [*command, "--blockstore", "local"], env=environment, stdout=subprocess.DEVNULL
    ) as server:
        try:
            deadline = time.monotonic() + 30
            while not healthy(port) and time.monotonic() < deadline:
                time.sleep(0.05)
            key_id, secret = (tmp_path / "credentials").read_text().split()
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/user", auth=(key_id, secret))
            assert answer.json()["user"]["id"] == "admin"
        finally:
            server.terminate()
        assert server.wait(timeout=20) in (0, -signal.SIGTERM)


def healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/_health", timeout=1).status_code == 204
    except httpx.TransportError:
        return False
