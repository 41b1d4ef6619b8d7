"""DAG files read as Airflow reads them: once per session, in a process that has nothing else imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_READ = """
import json, pathlib, sys, time
started = time.monotonic()
from airflow.dag_processing.dagbag import DagBag
imported = time.monotonic()
bag = DagBag(dag_folder=sys.argv[1], bundle_path=pathlib.Path(sys.argv[2]))
read = time.monotonic()
heavy = ["torch", "pyspark", "mlflow", "great_expectations", "dbt", "pandas", "polars", "sklearn", "scipy"]
heavy += ["xgboost", "evidently", "duckdb", "pyarrow", "lakefs", "numpy"]
def names(condition):
    parts = getattr(condition, "objects", None)
    if parts:
        return [name for part in parts for name in names(part)]
    return [condition.name] if condition else []
def backfilled(dag):
    "Ends of the intervals of a backfill over two days, as the scheduler makes them; None for no backfill."
    from datetime import datetime, UTC
    from airflow.serialization.serialized_objects import DagSerialization
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    if not read.timetable.periodic:
        return None
    first, last = datetime(2017, 11, 5, tzinfo=UTC), datetime(2017, 11, 6, 23, tzinfo=UTC)
    return [run.data_interval.end.isoformat() for run in read.iter_dagrun_infos_between(first, last)]
def described(dag):
    return {
        "tags": sorted(dag.tags), "doc_md": dag.doc_md or "", "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup, "dagrun_timeout": str(dag.dagrun_timeout or ""), "params": sorted(dag.params),
        "fileloc": dag.fileloc, "paused": dag.is_paused_upon_creation,
        "forms": {
            name: {**param.schema, "description": param.description} for name, param in dag.params.items()
        },
        "deadlines": [
            {"reference": alert.reference.reference_name, "seconds": alert.interval.total_seconds(),
             "callback": alert.callback.path, "kwargs": alert.callback.kwargs} for alert in dag.deadline or []
        ],
        "backfilled": backfilled(dag),
        "cron": getattr(getattr(dag.timetable, "timetable", dag.timetable), "expression", ""),
        "timeout_s": dag.dagrun_timeout.total_seconds() if dag.dagrun_timeout else 0,
        "triggers": sorted(set(names(getattr(dag.timetable, "asset_condition", None)))),
        "tasks": {
            task.task_id: {
                "owner": task.owner, "retries": task.retries, "backoff": bool(task.retry_exponential_backoff),
                "timeout": str(task.execution_timeout or ""),
                "alert": bool(task.on_failure_callback),
                "downstream": sorted(task.downstream_task_ids),
                "outlets": sorted(getattr(outlet, "name", "") for outlet in (task.outlets or [])),
            }
            for task in dag.tasks
        },
    }
print(json.dumps({
    "heavy": [name for name in heavy if name in sys.modules],
    "dags": {name: described(dag) for name, dag in bag.dags.items()},
    "errors": bag.import_errors,
    "seconds": {"airflow": imported - started, "dags": read - imported},
}))
"""


@pytest.fixture(scope="session")
def dag_bag(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What reading `dags/` gave: `dags` by id, `errors`, the `heavy` modules it imported."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "HEADRACE"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "HEADRACE_HOME": str(home / "headrace"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", _READ, str(ROOT / "dags"), str(ROOT)]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
