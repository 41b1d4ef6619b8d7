"""What every task of Headrace has, unless its DAG says otherwise."""

from datetime import timedelta
from typing import Any

from include.orchestration.callbacks import alert_owner

# Short first, since most failures are a server that restarts; long enough in all to outlast one.
RETRIES = 3
RETRY_DELAY = timedelta(seconds=5)
MAX_RETRY_DELAY = timedelta(minutes=5)
EXECUTION_TIMEOUT = timedelta(minutes=30)
DAGRUN_TIMEOUT = timedelta(hours=2)


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
