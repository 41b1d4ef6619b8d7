"""Airflow's components killed while a DAG runs: the run ends well, and each task has one good end."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.stack import airflow, processes, start
from include.stack.state import State
from include.stack.status import status

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TASKS = ("first", "second", "third")
DAG = """
import time
from pathlib import Path
from airflow.sdk import dag, task

@dag(dag_id="survivor", schedule=None, is_paused_upon_creation=False)
def survivor():
    @task(retries=3, retry_delay=1)
    def step(name: str, before: str) -> str:
        with Path({notes!r}).open("a") as notes:
            notes.write(f"{{name}} begins\\n")
        time.sleep(4)
        with Path({notes!r}).open("a") as notes:
            notes.write(f"{{name}} ends\\n")
        return name

    before = ""
    for name in {tasks!r}:
        before = step.override(task_id=name)(name, before)

survivor()
"""


@pytest.fixture
def own_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """Airflow and its database, with one DAG that notes what its tasks do."""
    root, home = tmp_path / "root", tmp_path / "home"
    (root / "dags").mkdir(parents=True)
    shutil.copy(airflow.repository_root() / ".airflowignore", root)
    (root / "dags" / "survivor.py").write_text(DAG.format(notes=str(tmp_path / "notes"), tasks=TASKS))
    monkeypatch.setenv("HEADRACE_DAGS_ROOT", str(root))
    try:
        yield start.up(home, only=("airflow",), choose_free_ports=True, timeout_s=300)
    finally:
        start.down(home)
        assert processes.marked(home.resolve()) == []


class Api:
    """The REST interface of Airflow; a call that finds no server is made again until the deadline."""

    def __init__(self, state: State) -> None:
        self.client = httpx.Client(base_url=state.url("HEADRACE_AIRFLOW_PORT"), trust_env=False, timeout=30)
        self.password = state.credentials.airflow_password

    def __call__(self, method: str, path: str, body: object = None, timeout_s: float = 120) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                login = {"username": "admin", "password": self.password}
                token = self.client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
                headers = {"Authorization": f"Bearer {token}"}
                answer = self.client.request(method, f"/api/v2{path}", json=body, headers=headers)
                return answer.raise_for_status().json()
            except (httpx.TransportError, httpx.HTTPStatusError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)


def wait_for(notes: Path, line: str, timeout_s: float = 200) -> None:
    deadline = time.monotonic() + timeout_s
    while line not in (seen := notes.read_text().splitlines() if notes.exists() else []):
        assert time.monotonic() < deadline, f"{line!r} never came; noted: {seen}"
        time.sleep(0.1)


def test_a_run_survives_the_death_of_each_component(own_stack: State, tmp_path: Path) -> None:
    api, notes = Api(own_stack), tmp_path / "notes"
    api("GET", "/dags/survivor")
    run = api("POST", "/dags/survivor/dagRuns", {"logical_date": None})["dag_run_id"]
    pids = {row.name: row.pid for row in status(own_stack.home)}
    wait_for(notes, "first begins")
    os.kill(pids["airflow-scheduler"], signal.SIGKILL)
    os.kill(pids["airflow-dag-processor"], signal.SIGKILL)
    wait_for(notes, "second begins")
    os.kill(pids["airflow-api-server"], signal.SIGKILL)
    os.kill(pids["airflow-triggerer"], signal.SIGKILL)
    wait_for(notes, "third ends")
    deadline = time.monotonic() + 120
    while (state := api("GET", f"/dags/survivor/dagRuns/{run}")["state"]) in ("running", "queued"):
        assert time.monotonic() < deadline, state
        time.sleep(0.3)
    assert state == "success"
    instances = api("GET", f"/dags/survivor/dagRuns/{run}/taskInstances")["task_instances"]
    assert {task["task_id"]: task["state"] for task in instances} == dict.fromkeys(TASKS, "success")
    lines = notes.read_text().splitlines()
    assert lines.count("first begins") == 2, "the killed scheduler's task was taken up again, once"
    assert lines.count("first ends") == 1, "and what the killed one had started did not go on beside it"
    components = {row.name: row.state for row in status(own_stack.home) if row.name.startswith("airflow")}
    assert components == dict.fromkeys(airflow.NAMES, "healthy")
