"""Runs DAGs by `dag.test()` in a process of its own: a JSON line on stdin asks, one on a pipe answers.

One process for all runs, so that the heavy packages of the steps are imported once.
"""

import json
import os
import sys
from typing import Any

from include.stack.airflow import repository_root


def serve(answers: int) -> None:
    """Make the tables, read the DAGs, and run what is asked until stdin ends.

    Args:
        answers: Descriptor to write answers to; stdout is Airflow's.
    """
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    root = repository_root()

    def read() -> DagBag:
        return DagBag(dag_folder=str(root / "dags"), bundle_path=root)

    bag = read()
    with os.fdopen(answers, "w", buffering=1) as answer:
        print(json.dumps({"dags": sorted(bag.dags), "errors": bag.import_errors}), file=answer)
        for line in sys.stdin:
            asked = json.loads(line)
            dag = read().dags[asked["dag"]]  # anew: `test` leaves the form of a run in the DAG's params
            # Airflow 3.3 looks a deadline up by an id that only its scheduler gives it; `test` would fail.
            dag.deadline = None
            run = dag.test(run_conf=asked["conf"])
            print(json.dumps(_told(run)), file=answer)


def _told(run: Any) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        pushed: Any = session.scalars(XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id)).all()
        values = {f"{one.task_id}.{one.key}": one.value for one in pushed}
        instances = run.get_task_instances(session=session)
        names = [f"{one.task_id}{'' if one.map_index < 0 else f' {one.map_index}'}" for one in instances]
        states = {name: str(one.state) for name, one in zip(names, instances, strict=True)}
        tries = {name: one.try_number for name, one in zip(names, instances, strict=True)}
    return {
        "run_id": run.run_id,
        "state": str(run.state),
        "tasks": states,
        "tries": tries,
        "values": values,
    }


if __name__ == "__main__":
    serve(int(sys.argv[1]))
