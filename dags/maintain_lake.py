"""Upkeep of the lake: one DAG, once a day."""

from airflow.sdk import DAG, CronTriggerTimetable, task

from include.orchestration import maintenance
from include.orchestration.defaults import dag_defaults

DOC = """Takes away what no run needs any more; main and its history stay.

- `collect_drafts`: branches of runs that are published, abandoned, or were refused long ago
- `collect_objects`: bytes of expired commits, and of uploads that nothing names (embedded lake server only: a
  real lakeFS has a job of its own, and the step is skipped)
- `trim_cache`: what the local cache holds beyond its bound
- `clear_leftovers`: scratch of tasks that were killed

A draft, an upload or a file that a running task uses is never touched, so it may run at any time; trigger it
with `dry_run` to see what it would do. Runbook: docs/runbooks/lake.md.
"""

with DAG(
    maintenance.FLOW,
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    **dag_defaults(maintenance.OWNER),
    tags=["lake", "upkeep"],
    doc_md=DOC,
    params=dict(maintenance.PARAMS),
):
    task(maintenance.collect_drafts)() >> task(maintenance.collect_objects)()
    task(maintenance.trim_cache)()
    task(maintenance.clear_leftovers)()
