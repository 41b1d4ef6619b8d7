"""What every DAG and every task of Headrace has, unless its file says otherwise."""

from datetime import timedelta
from typing import Any

from airflow.sdk import (  # type: ignore[attr-defined]  # its stub does not tell of them
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
)

from include.orchestration.callbacks import alert_of_missed_deadline, alert_owner

# Short first, since most failures are a server that restarts; long enough in all to outlast one.
RETRIES = 3
RETRY_DELAY = timedelta(seconds=5)
MAX_RETRY_DELAY = timedelta(minutes=5)
EXECUTION_TIMEOUT = timedelta(minutes=30)
DAGRUN_TIMEOUT = timedelta(hours=2)
# From when a run is queued, so that one which cannot start is noticed, too; a run takes minutes.
DEADLINE = timedelta(hours=1)


def dag_defaults(owner: str) -> dict[str, Any]:
    """What a DAG has beside its schedule: one run at a time, bounds, alerts, and its tasks' defaults.

    Args:
        owner: Address of who answers for it; alerts name them.
    """
    return {
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": DAGRUN_TIMEOUT,
        "deadline": DeadlineAlert(
            name=f"ends within {DEADLINE // timedelta(minutes=1)} minutes",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=DEADLINE,
            callback=AsyncCallback(alert_of_missed_deadline, {"owner": owner}),
        ),
        "default_args": task_defaults(owner),
        "is_paused_upon_creation": False,
    }


def task_defaults(owner: str) -> dict[str, Any]:
    """`default_args` of a DAG.

    Args:
        owner: Address of who answers for it; alerts name them.
    """
    return {
        "owner": owner,
        "retries": RETRIES,
        "retry_delay": RETRY_DELAY,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": MAX_RETRY_DELAY,
        "execution_timeout": EXECUTION_TIMEOUT,
        "on_failure_callback": alert_owner,
    }
