"""What reading all DAG files costs, as a multiple of what importing Airflow's own interface costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    *("torch", "pyspark", "mlflow", "great_expectations", "dbt", "pandas", "polars", "sklearn", "scipy"),
    *(
        "xgboost",
        "evidently",
        "duckdb",
        "pyarrow",
        "lakefs",
        "numpy",
        "numba",
        "onnxruntime",
        "dlt",
        "connectorx",
    ),
)
_READ = """
import importlib.util, json, sys, time
started = time.perf_counter()
import airflow.sdk
imported = time.perf_counter()
read = {}
for path in sys.argv[2:]:
    before = time.perf_counter()
    spec = importlib.util.spec_from_file_location("dag_file_" + str(len(read)), path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    read[path] = time.perf_counter() - before
heavy = [name for name in json.loads(sys.argv[1]) if name in sys.modules]
print(json.dumps({"sdk": imported - started, "files": read, "heavy": heavy}))
"""


def test_reading_every_file_is_told_as_a_multiple_of_the_interface_and_imports_nothing_heavy(
    tmp_path, record_property, capsys
):
    files = sorted(str(path) for path in (ROOT / "dags").glob("*.py") if path.name != "__init__.py")
    foreign = ("AIRFLOW", "HEADRACE")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    environment |= {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _READ, json.dumps(HEAVY), *files],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told["files"]) == len(files) >= 6
    assert told["heavy"] == []
    ratio = sum(told["files"].values()) / told["sdk"]
    record_property("dag_files_per_sdk_import", round(ratio, 3))
    with capsys.disabled():
        print(f"\nreading {len(files)} DAG files took {ratio:.2f} times the import of airflow.sdk")
