"""Airflow's REST API for one user: trigger a DAG, watch its tasks, read what they returned."""

import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from include.settings import Settings
from include.spec.errors import HeadraceError

POLL_S = 0.5
RESTARTED_WITHIN_S = 60.0
PARSED_WITHIN_S = 90.0
ENDED = ("success", "failed")
MISSING = (404,)
ALREADY_THERE = (409,)
UNTOLD = (500,)
PAGE = 100


class AirflowError(HeadraceError):
    """Airflow could not be asked, or did not do what was asked."""


@dataclass(frozen=True)
class TaskState:
    """One task of a run.

    Args:
        name: Its id, with what it works on where it is one of several.
        state: As Airflow names it; empty before it is scheduled.
        seconds: How long it ran, None before it started.
        id: Its id alone.
        map_index: Its number where it is one of several, else -1.
        started: When its last try began, in seconds since 1970; None before it did.
        ended: When it ended.
    """

    name: str
    state: str
    seconds: float | None
    id: str
    map_index: int
    started: float | None
    ended: float | None


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG.

    Args:
        dag: Id of the DAG.
        id: Of the run.
        state: As Airflow names it.
        kind: How it came to be, as Airflow names it: `manual`, `asset_triggered`, ...
        after: Before this it could not begin, ISO 8601.
        started: When it began, in seconds since 1970; None while it waits.
        ended: When it ended.
        conf: What it was triggered with.
    """

    dag: str
    id: str
    state: str
    kind: str
    after: str
    started: float | None
    ended: float | None
    conf: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What tells it from all other runs."""
        return f"{self.dag}/{self.id}"


@dataclass(frozen=True)
class AssetEvent:
    """A run has changed an asset.

    Args:
        run: The run's name.
        extra: What it told with it.
    """

    run: str
    extra: Mapping[str, Any]


class AirflowApi:
    """A client with a token of its own.

    Args:
        settings: Address, user and password.

    Raises:
        AirflowError: It is not there, or refuses the password.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.airflow_url
        self._client = httpx.Client(base_url=self.url, timeout=30)
        credentials = {
            "username": settings.airflow_username,
            "password": settings.airflow_password.get_secret_value(),
        }
        token = self._ask("POST", "/auth/token", credentials).json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> "AirflowApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def await_dag(self, dag: str) -> None:
        """Return once Airflow has read the DAG's file.

        Raises:
            AirflowError: It does not within the time, or the file has errors; they are in the message.
        """
        deadline = time.monotonic() + PARSED_WITHIN_S
        while self._ask("GET", f"/api/v2/dags/{dag}", accepted=MISSING).status_code == 404:
            errors = self._ask("GET", "/api/v2/importErrors").json()["import_errors"]
            if errors or time.monotonic() > deadline:
                said = "; ".join(f"{error['filename']}: {error['stack_trace'][-500:]}" for error in errors)
                raise AirflowError(
                    f"Airflow knows no DAG {dag}. {said}".strip(),
                    remedy="See `headrace logs airflow-dag-processor`.",
                )
            time.sleep(POLL_S)

    def pause(self, dag: str, *, paused: bool) -> None:
        """Let nothing start runs of the DAG by itself, or let it again."""
        self._ask("PATCH", f"/api/v2/dags/{dag}", {"is_paused": paused})

    def runs(self, dag: str) -> dict[str, str]:
        """State of each run of the DAG by its id, oldest first."""
        answer = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns?order_by=start_date&limit=100").json()
        return {run["dag_run_id"]: str(run["state"]) for run in answer["dag_runs"]}

    def run(self, dag: str, run: str) -> DagRun | None:
        """A run; None where there is no such run."""
        answer = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}", accepted=MISSING)
        return None if answer.status_code == 404 else _run(answer.json())

    def run_state(self, dag: str, run: str) -> str | None:
        """State of a run; None where there is no such run."""
        found = self.run(dag, run)
        return None if found is None else found.state

    def runs_since(self, moment: str) -> list[DagRun]:
        """The runs of all DAGs that could begin at that moment (ISO 8601) or later."""
        found: list[DagRun] = []
        query = {"run_after_gte": moment, "order_by": "run_after", "limit": str(PAGE)}
        while True:
            page = httpx.QueryParams(query | {"offset": str(len(found))})
            answer = self._ask("GET", f"/api/v2/dags/~/dagRuns?{page}").json()
            found += map(_run, answer["dag_runs"])
            if len(answer["dag_runs"]) < PAGE:
                return found

    def causes(self, run: DagRun) -> list[AssetEvent] | None:
        """The events of other runs' assets that set this one off.

        None while Airflow cannot tell: it answers with an error while another run that the same asset set off
        has not begun.
        """
        path = f"/api/v2/dags/{run.dag}/dagRuns/{run.id}/upstreamAssetEvents"
        answer = self._ask("GET", path, accepted=UNTOLD)
        if answer.is_error:
            return None
        events = answer.json()["asset_events"]
        return [
            AssetEvent(f"{event['source_dag_id']}/{event['source_run_id']}", event["extra"] or {})
            for event in events
            if event["source_run_id"]
        ]

    def is_queued(self, dag: str) -> bool:
        """Whether an asset has asked for a run of the DAG that is not made yet."""
        answer = self._ask("GET", f"/api/v2/dags/{dag}/assets/queuedEvents", accepted=MISSING)
        return not answer.is_error and bool(answer.json()["queued_events"])

    def clear(self, dag: str, run: str) -> None:
        """Let all tasks of a run that has ended run again."""
        self._ask("POST", f"/api/v2/dags/{dag}/dagRuns/{run}/clear", {"dry_run": False, "only_failed": False})

    def trigger(self, dag: str, run: str, conf: dict[str, Any] | None = None) -> None:
        """Start a run; if one of that id is there already, that is the run."""
        body = {"dag_run_id": run, "logical_date": None, "conf": conf or {}}
        self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", body, accepted=ALREADY_THERE)

    def tasks(self, dag: str, run: str) -> list[TaskState]:
        """The tasks of a run in order of their start."""
        answer = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances").json()
        found = sorted(answer["task_instances"], key=lambda task: task["start_date"] or "~")
        return [
            TaskState(
                name=task["task_id"]
                + (f" {task['rendered_map_index']}" if task["rendered_map_index"] else ""),
                state=task["state"] or "",
                seconds=task["duration"],
                id=task["task_id"],
                map_index=task["map_index"],
                started=_seconds(task["start_date"]),
                ended=_seconds(task["end_date"]),
            )
            for task in found
        ]

    def xcom(self, dag: str, run: str, task: str, key: str = "return_value", index: int = -1) -> Any:
        """What a task left behind, as plain dictionaries and lists; None where it left nothing."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}"
        answer = self._ask("GET", f"{path}?map_index={index}", accepted=MISSING)
        return None if answer.status_code == 404 else _plain(answer.json()["value"])

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, accepted: Container[int] = ()
    ) -> httpx.Response:
        try:
            answer = self._patiently(method, path, body)
        except httpx.HTTPError as error:
            raise AirflowError(
                f"Airflow does not answer at {self.url}: {error}.", remedy="Start it with `headrace up`."
            ) from error
        if answer.is_error and answer.status_code not in accepted:
            raise AirflowError(
                f"Airflow refused {method} {path.partition('?')[0]}: {answer.status_code} {answer.text[:300]}"
            )
        return answer

    @retry(
        retry=retry_if_exception_type(httpx.TransportError),
        stop=stop_after_delay(RESTARTED_WITHIN_S),
        wait=wait_fixed(POLL_S),
        reraise=True,
    )
    def _patiently(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """Asks until the API server has answered: one that died is restarted while its runs go on."""
        return self._client.request(method, path, json=body)


def _run(found: Mapping[str, Any]) -> DagRun:
    return DagRun(
        dag=found["dag_id"],
        id=found["dag_run_id"],
        state=found["state"],
        kind=found["run_type"],
        after=found["run_after"],
        started=_seconds(found["start_date"]),
        ended=_seconds(found["end_date"]),
        conf=found["conf"] or {},
    )


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def _plain(value: Any) -> Any:
    """Airflow's serialised form of a dataclass, as the dictionary of its fields."""
    if isinstance(value, dict):
        inner = value.get("__data__", value)
        return (
            {key: _plain(item) for key, item in inner.items()} if isinstance(inner, dict) else _plain(inner)
        )
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
