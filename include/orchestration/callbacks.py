"""What happens when a task has failed for good or a run is late: whoever answers for it can know."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from include.orchestration import journal

MESSAGE_LENGTH = 2000

logger = logging.getLogger(__name__)


def alert_owner(context: Mapping[str, Any]) -> None:
    """Log one line for the owner, and append it to `alerts.jsonl` in the state folder.

    Args:
        context: Of the failed task, as Airflow gives it.
    """
    instance = context["ti"]
    owner = getattr(context.get("task"), "owner", "")
    error = str(context.get("exception") or "")
    alert(owner=owner, dag=instance.dag_id, task=instance.task_id, run=instance.run_id, error=error)


async def alert_of_missed_deadline(owner: str, context: Mapping[str, Any]) -> None:
    """Log one line for the owner of a run that is late, and append it to the same journal.

    The triggerer calls it, by its name, so it awaits nothing that takes time.

    Args:
        owner: Address of who answers for the DAG.
        context: The run and the deadline, as Airflow gives them.
    """
    run = context["dag_run"]
    error = f"the run has missed its deadline, {context['deadline']['deadline_time']}"
    alert(owner=owner, dag=run["dag_id"], task="", run=run["dag_run_id"], error=error)


def alert(*, owner: str, dag: str, task: str, run: str, error: str) -> None:
    """Log one line for the owner, and append it to the journal of alerts.

    Args:
        owner: Address of who must know.
        dag: Which flow it is about.
        task: Which of its tasks; empty for the run as a whole.
        run: Which run.
        error: What is wrong.
    """
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "owner": owner,
        "dag": dag,
        "task": task,
        "run": run,
        "error": error[:MESSAGE_LENGTH],
    }
    logger.error("ALERT %s", journal.append(journal.ALERTS, entry))
