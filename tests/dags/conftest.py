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
def described(dag):
    return {
        "tags": sorted(dag.tags), "doc_md": dag.doc_md or "", "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup, "dagrun_timeout": str(dag.dagrun_timeout or ""), "params": sorted(dag.params),
        "fileloc": dag.fileloc,
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
    "dags": {name: described(dag) for name, dag in bag.dags.items()},
    "errors": bag.import_errors,
    "heavy": [name for name in heavy if name in sys.modules],
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
