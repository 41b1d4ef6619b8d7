"""The report at the end of the demo: what is on main, how it came there, and where to look."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.demo.airflow_api import AirflowApi, AirflowError
from include.lake import Lake, find_published
from include.lake.history import log
from include.lake.tables import list_tables
from include.settings import Settings
from include.spec.errors import HeadraceError
from include.spec.verdict import Finding
from include.validation.suite import load_suite

PREFIX = "raw/retail"


class NoReportError(HeadraceError):
    """The demo has not run here."""


@dataclass(frozen=True)
class Stage:
    """One stage of the demo: what it did and how long it took."""

    name: str
    seconds: float
    outcome: str


@dataclass(frozen=True)
class TableLine:
    """One published table and its gate.

    Args:
        table: Lake path.
        rows: On main.
        files: Parquet files.
        size_bytes: Of these.
        seconds: From the first row read to the last byte in the lake, None where it was not landed anew.
        rules: Expectations that were evaluated.
        warnings: Of them, those that did not hold and do not refuse.
    """

    table: str
    rows: int
    files: int
    size_bytes: int
    seconds: float | None
    rules: int
    warnings: int


@dataclass(frozen=True)
class TaskLine:
    """One task of a run.

    Args:
        task: Its id, with the text of its map index where it is one of several.
        state: As Airflow names it; empty before it is scheduled.
        started: When its last try began, in seconds since 1970; None before it did.
        ended: When it ended.
        work_seconds: The station's own work as the listener measured it, None where it is not known.
        peak_memory_bytes: Highest resident memory of its process, None where it did not tell.
    """

    task: str
    state: str
    started: float | None
    ended: float | None
    work_seconds: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class RunLine:
    """One run of a DAG.

    Args:
        dag: Id of the DAG.
        run_id: Id of the run.
        state: As Airflow names it.
        act: `first` for what the ingestion set off, `later` for what followed when truths had matured.
        started: When it began, in seconds since 1970.
        ended: When it ended.
        as_of: Moment whose knowledge it used, ISO 8601, UTC; empty where none was asked for.
        triggered_by: The runs whose events set it off, each as `dag/run`.
        url: Where Airflow shows it.
        tasks: In order of their start.
    """

    dag: str
    run_id: str
    state: str
    act: Literal["first", "later"]
    started: float | None
    ended: float | None
    as_of: str
    triggered_by: tuple[str, ...]
    url: str
    tasks: tuple[TaskLine, ...]


@dataclass(frozen=True)
class TimedTask:
    """One task of the ingestion: how long it took, and the highest memory of its process if it measured."""

    name: str
    state: str
    seconds: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Report:
    """Everything that the demo tells at its end; saved, and printed again by `headrace report`.

    Args:
        run_id: The run of the DAG.
        already: Whether it was run before, and nothing was done now.
        commit: Of main, that holds what the run published.
        verdict: Of the gates.
        suite_hash: Of the suites that were run.
        warnings: The rules that did not hold and do not refuse.
        stages: In order of their end.
        tasks: Of the DAG's run.
        tables: On main.
        seconds: Of the whole command.
        urls: Where to look, by name.
    """

    run_id: str
    already: bool
    commit: str
    verdict: str
    suite_hash: str
    warnings: tuple[Finding, ...]
    stages: tuple[Stage, ...]
    tasks: tuple[TimedTask, ...]
    tables: tuple[TableLine, ...]
    seconds: float
    urls: Mapping[str, str]


def make_report(
    settings: Settings,
    api: AirflowApi,
    dag: str,
    run_id: str,
    stages: Sequence[Stage],
    seconds: float,
    *,
    already: bool,
) -> Report:
    """Put the report together from the lake and from Airflow, which know what happened.

    Raises:
        AirflowError: The run published nothing.
    """
    lake = Lake.connect(settings)
    published = find_published(lake, run_id, dag)
    if published is None:
        raise AirflowError(
            f"Run {run_id} of {dag} published nothing.", remedy=f"See {api.url}/dags/{dag}/runs."
        )
    commit = published.commit
    record = next(log(lake, commit.commit, limit=1)).record
    worst = record.worst if record is not None else ()
    landed = _landed(api, dag, run_id)
    return Report(
        run_id=run_id,
        already=already,
        commit=commit.commit,
        verdict="passed" if published.changed else "passed, nothing changed",
        suite_hash=published.suite_hash,
        warnings=worst,
        stages=tuple(stages),
        tasks=_tasks(api, dag, run_id),
        tables=tuple(
            TableLine(
                table=found.table,
                rows=found.rows,
                files=found.files,
                size_bytes=found.size_bytes,
                seconds=landed.get(found.table),
                rules=len(load_suite(found.table).rules),
                warnings=sum(finding.table == found.table for finding in worst),
            )
            for found in list_tables(lake, commit, PREFIX)
        ),
        seconds=seconds,
        urls={
            "Airflow": f"{settings.airflow_url}/dags/{dag}/runs/{run_id}",
            "MLflow": settings.mlflow_tracking_uri,
            "Lake": settings.lakefs_endpoint,
        },
    )


def save_report(settings: Settings, report: Report) -> None:
    """Keep the report for `headrace report`; replaced at once."""
    path = _path(settings.home)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(report), indent=1) + "\n")
    unfinished.replace(path)


def load_report(home: Path) -> Report:
    """The report of the last demo in this state folder.

    Raises:
        NoReportError: There is none.
    """
    path = _path(home)
    if not path.is_file():
        raise NoReportError(f"There is no report in {home}.", remedy="Run `headrace demo` first.")
    saved = json.loads(path.read_text())
    saved["warnings"] = tuple(Finding(**finding) for finding in saved["warnings"])
    for key, kind in (("stages", Stage), ("tasks", TimedTask), ("tables", TableLine)):
        saved[key] = tuple(kind(**line) for line in saved[key])
    return Report(**saved)


def _path(home: Path) -> Path:
    return home / "reports" / "first_light.json"


def _landed(api: AirflowApi, dag: str, run_id: str) -> dict[str, float]:
    """Seconds by table, as the landing tasks measured them."""
    return {
        table["table"]: float(table["seconds"])
        for landing in _landings(api, dag, run_id)
        for table in landing["tables"]
    }


def _landings(api: AirflowApi, dag: str, run_id: str) -> list[Any]:
    found: list[Any] = []
    while (landing := api.xcom(dag, run_id, "land", index=len(found))) is not None:
        found.append(landing)
    return found


def _tasks(api: AirflowApi, dag: str, run_id: str) -> tuple[TimedTask, ...]:
    memory = {
        f"land {landing['origin']}": landing["peak_memory_bytes"] for landing in _landings(api, dag, run_id)
    }
    judged = api.xcom(dag, run_id, "gate", "judged")
    if judged is not None:
        memory["gate"] = judged["peak_memory_bytes"]
    return tuple(
        TimedTask(task.name, task.state, task.seconds, memory.get(task.name))
        for task in api.tasks(dag, run_id)
    )
