"""`python -m include.stack.airflow_process COMMAND...` is `airflow COMMAND...`, cheaper to run and to stop.

The scheduler imports the libraries of our tasks before it forks. A task's process is a fork of a fork of it,
and importing Great Expectations, dbt and MLflow in each of them took longer than the work of most tasks. What
is forked is shared memory, so several tasks at once also need less of it. Only libraries: code of this
repository is imported by each task, as it then is.

And at the end each process goes at once. To free all its objects one by one took each of Airflow's processes
two to three CPU seconds, most of the time that `headrace down` took.
"""

import atexit
import gc
import importlib
import os
import runpy
import sys

# Those that many tasks want, and that start no threads of Python's when they are imported.
LIBRARIES = ("lakefs", "pyarrow.parquet", "great_expectations", "dbt.cli.main", "mlflow")


def main() -> int:
    """Be `airflow` with this process's arguments; returns its exit status."""
    if sys.argv[1:2] == ["scheduler"]:
        import_libraries()
    try:
        runpy.run_module("airflow", run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def import_libraries() -> None:
    """Import what the forks of this process are to share."""
    # Read at import: without it the library reports its use.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    for name in LIBRARIES:
        importlib.import_module(name)
    # Not to be looked through by every collection from now on.
    gc.freeze()


if __name__ == "__main__":
    status = main()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
