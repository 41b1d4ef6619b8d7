"""The whole flow on the real stack, once per session: one ingestion is triggered, and everything follows.

On the way one task of each DAG is killed in the middle of its work, and Airflow tries it again: what the
tests find at the end is what a flow leaves that had to recover at every station.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from include.demo import landing, operational
from include.demo.airflow_api import ENDED, AirflowApi
from include.demo.complete_journey import Slice
from include.lake import Lake
from include.products import PRODUCTS
from include.settings import STACK_ENV, Settings
from include.stack.state import State
from include.stack.status import status

PART = Slice(households=600, weeks=2)
FLOW_WITHIN_S = 900
# As the demo on this stack is: what it published may come along, and the later moment of the two counts.
AS_OF = "2017-11-02T06:00:00"
COUPON, LAPSE = PRODUCTS
INGEST, BUILD = "ingest_batch__retail", "build_features__retail"
# Of so few households the model of coupons shows no skill: its flow ends with its training.
FOLLOWING = (
    BUILD,
    *(f"train__{product.name}" for product in PRODUCTS),
    f"score__{LAPSE.name}",
    f"monitor__{LAPSE.name}",
)
# The task that is killed in each DAG, and the library that only its work loads, after most of its imports:
# a process that has it mapped is in the middle.
VICTIMS = {
    (INGEST, "land"): "libadbc_driver_postgresql",
    (BUILD, "build"): "duckdb",
    (f"train__{COUPON.name}", "fit"): "libxgboost",
    (f"train__{LAPSE.name}", "fit"): "libtorch_cpu",
    (f"score__{LAPSE.name}", "score"): "onnxruntime",
    (f"monitor__{LAPSE.name}", "watch"): "onnxruntime",
}
TITLE = "airflow worker -- "
LOOK_S = 0.02


@dataclass(frozen=True)
class Killed:
    """A task's process that was killed.

    Args:
        run: The run of its DAG.
        pid: The process.
        map_index: Which of a mapped task's instances it was.
    """

    run: str
    pid: int
    map_index: int


@dataclass
class Killer:
    """Kills the process of one try of each victim, among the children of one scheduler, and no others.

    Args:
        api: Tells whose a process is.
        scheduler: Of the stack.
        victims: What is killed, and when.
    """

    api: AirflowApi
    scheduler: psutil.Process
    victims: Mapping[tuple[str, str], str]
    killed: dict[tuple[str, str], Killed] = field(default_factory=dict)
    _known: dict[int, tuple[tuple[str, str], Killed] | None] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Killer":
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S) and len(self.killed) < len(self.victims):
            for process in self.scheduler.children(recursive=True):
                with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    self._look(process)

    def _look(self, process: psutil.Process) -> None:
        if process.pid not in self._known:
            title = " ".join(process.cmdline()).strip()
            instance = title.removeprefix(TITLE)
            if not title.startswith(TITLE) or instance.startswith("LocalExecutor"):
                return
            self._known[process.pid] = self._whose(process.pid, instance)
        found = self._known[process.pid]
        if found is None or found[0] in self.killed:
            return
        if self.victims[found[0]] in Path(f"/proc/{process.pid}/maps").read_text():
            os.kill(process.pid, signal.SIGKILL)
            self.killed[found[0]] = found[1]

    def _whose(self, pid: int, instance: str) -> tuple[tuple[str, str], Killed] | None:
        running = ask(self.api, "/dags/~/dagRuns/~/taskInstances?state=running&limit=100")["task_instances"]
        for one in running:
            victim = one["dag_id"], one["task_id"]
            if one["id"] == instance and victim in self.victims:
                return victim, Killed(one["dag_run_id"], pid, one["map_index"])
        return None


def ask(api: AirflowApi, path: str) -> Any:
    """An answer of Airflow's REST API."""
    return api._ask("GET", f"/api/v2{path}").json()


def await_run(api: AirflowApi, dag: str, known: set[str]) -> str:
    """Id of the first run of the DAG that is not among the known and has ended well."""
    deadline = time.monotonic() + FLOW_WITHIN_S
    while True:
        new = {run: state for run, state in api.runs(dag).items() if run not in known}
        for run, state in new.items():
            if state in ENDED:
                tasks = [(task.name, task.state) for task in api.tasks(dag, run)]
                assert state == "success", f"{dag} {run}: {tasks}"
                return run
        assert time.monotonic() < deadline, f"{dag} did not end: {new}"
        time.sleep(0.5)


@dataclass(frozen=True)
class Flow:
    """What followed from one ingestion.

    Args:
        runs: The run of each DAG.
        before: Runs of every DAG that were there before.
        killed: The processes that were killed on the way, by DAG and task.
    """

    runs: Mapping[str, str]
    before: Mapping[str, set[str]]
    killed: Mapping[tuple[str, str], Killed]


@pytest.fixture(scope="session")
def settings(stack: State) -> Settings:
    return Settings(_env_file=stack.home / STACK_ENV, home=stack.home)  # type: ignore[call-arg]


@pytest.fixture(scope="session")
def api(settings: Settings) -> Iterator[AirflowApi]:
    with AirflowApi(settings) as client:
        yield client


@pytest.fixture(scope="session")
def lake(settings: Settings) -> Lake:
    return Lake.prepare(settings)


@pytest.fixture(scope="session")
def flow(stack: State, api: AirflowApi, lake: Lake, settings: Settings) -> Flow:
    """One ingestion, triggered by hand as of a past day, and what followed from it."""
    operational.load(settings.retail_dsn.get_secret_value(), PART)
    landing.drop(settings, PART)
    every = (
        INGEST,
        BUILD,
        *(f"{kind}__{one.name}" for one in PRODUCTS for kind in ("train", "score", "monitor")),
    )
    for dag in every:
        api.await_dag(dag)
        api.pause(dag, paused=False)
    before = {dag: set(api.runs(dag)) for dag in every}
    (scheduler,) = [row.pid for row in status(stack.home) if row.name == "airflow-scheduler"]
    with Killer(api, psutil.Process(scheduler), VICTIMS) as killer:
        api.trigger(INGEST, "whole_flow", {"as_of": AS_OF})
        runs = {dag: await_run(api, dag, before[dag]) for dag in (INGEST, *FOLLOWING)}
    return Flow(runs, before, killer.killed)
