"""The form's *dry run*: do the work, say what would come of it, and let nothing come of it."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

DRY_RUN = "dry_run"


def dry_run_param(description: str) -> dict[str, Param]:
    """The parameter for a DAG's form.

    Args:
        description: What is done and what is not.
    """
    return {DRY_RUN: Param(False, type="boolean", title="Dry run", description=description)}


def is_dry_run(params: Mapping[str, Any] | None) -> bool:
    """Whether the form asked for it."""
    return bool((params or {}).get(DRY_RUN))
