"""What happens when a task has failed for good: whoever answers for it can know."""

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
    alert = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "owner": getattr(context.get("task"), "owner", ""),
        "dag": instance.dag_id,
        "task": instance.task_id,
        "run": instance.run_id,
        "error": str(context.get("exception") or "")[:MESSAGE_LENGTH],
    }
    logger.error("ALERT %s", journal.append(journal.ALERTS, alert))
