"""What happens when a task has failed for good: whoever answers for it can know."""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from include.settings import settings

ALERTS = "alerts.jsonl"
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
    line = json.dumps(alert, ensure_ascii=False)
    logger.error("ALERT %s", line)
    path = settings().home / ALERTS
    # Opened so: one append of one line is atomic, and only the owner of the stack may read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(line + "\n")
