"""Runs the DAG of the shop by `dag.test()` in a process of its own: `drive.py SLOT ANSWER CONF...`.

Each CONF, as JSON, is a run; how they ended goes to the file ANSWER.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session

from include.orchestration import new_changes

# Airflow reads files that speak of it and of a DAG.
DAG_FILE = """
from dags.ingest_cdc import ingest_cdc  # an airflow dag
from tests.integration.following.declared import shop_source

ingest_cdc(shop_source({slot!r}))
"""


def main() -> None:
    """Read the DAG anew for each run: `test` leaves the form of a run in the DAG's params."""
    slot, answer, *confs = sys.argv[1:]
    folder = Path(answer).parent / "dags"
    folder.mkdir(exist_ok=True)
    (folder / "shop.py").write_text(DAG_FILE.format(slot=slot))
    initdb()
    for name in ("QUIET_AFTER_CHANGES", "QUIET_BEFORE_DEFERRAL", "DEFERRED_FOR"):
        setattr(new_changes, name, timedelta(seconds=3))
    told = []
    for conf in confs:
        bag = DagBag(dag_folder=str(folder), bundle_path=folder)
        assert not bag.import_errors, bag.import_errors
        dag = bag.dags["ingest_cdc__shop"]
        dag.deadline = None  # Airflow 3.3 looks it up by an id that only its scheduler gives it
        run = dag.test(run_conf=json.loads(conf))
        with create_session() as session:
            instances = run.get_task_instances(session=session)
            pushed: Any = session.scalars(XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id)).all()
            told.append(
                {
                    "state": str(run.state),
                    "tasks": {one.task_id: str(one.state) for one in instances},
                    "values": {f"{one.task_id}.{one.key}": one.value for one in pushed},
                }
            )
    Path(answer).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
